/** What is booted, and what came of it: the same for both tiers. */

/** Debian's releases by the systemd that they boot. */
export const suites = { bookworm: 252, trixie: 257, forky: 262 } as const;
export type Suite = keyof typeof suites;

/**
 * `container`: systemd-nspawn, about a second a boot: the real PID 1, generators and ordering, but no device mapper.
 * `machine`: QEMU without KVM, half a minute a boot: dm-crypt, a TPM device, a network.
 */
export type Tier = 'container' | 'machine';

/** A machine that is to be booted, on top of a suite's base image with our package installed. */
export interface Guest {
  /** Files laid over the image, by absolute path. */
  readonly files: Readonly<Record<string, GuestFile>>;
  /** Units to enable before the boot, as `systemctl enable` takes them. */
  readonly enable: readonly string[];
  /** Shell script that runs when the boot has ended; its output is the result's, its exit status too. */
  readonly script: string;
  /** LUKS images attached as disks with these serial numbers; in a container they are files under /disks. */
  readonly disks: readonly { readonly serial: string; readonly image: string }[];
  /** State folder of a software TPM; null = none. Machines only. */
  readonly tpm: string | null;
  /** Whether the guest reaches servers on the host's loopback (10.0.2.2). Machines only. */
  readonly network: boolean;
  /** Shell commands on the installed image before it boots (chroot). Containers only. */
  readonly prepare: string;
  /** Folders laid over the installed image, the topmost first. Containers only. */
  readonly layers: readonly string[];
  /** Kernel arguments; in a container PID 1's own. */
  readonly append: string;
  /**
   * A boot that has not ended after this many seconds prints its jobs and its journal. The script has as many more, and
   * does the same.
   */
  readonly watchdogSeconds: number;
}

export interface GuestFile {
  readonly content: string | Uint8Array;
  /** Octal; default 0o644. */
  readonly mode?: number;
}

/** A machine with nothing but our package on it. */
export const plainGuest: Guest = {
  files: {},
  enable: [],
  script: '',
  disks: [],
  tpm: null,
  network: false,
  prepare: '',
  layers: [],
  append: '',
  watchdogSeconds: 60,
};

/** What a boot is part of. */
export interface BootOptions {
  readonly scenario: string;
  /** New folder for all that the boot leaves behind. */
  readonly folder: string;
  /** An earlier boot of the same machine, whose disks this one has; its `files` come on top. */
  readonly after?: BootResult;
}

/** One for each tier. A boot that hangs is a result too; what the harness itself could not do is a HarnessError. */
export type Boot = (suite: Suite, guest: Guest, options: BootOptions) => Promise<BootResult>;

export interface BootResult {
  /** The script's exit status; null when the boot never came so far. */
  readonly status: number | null;
  readonly output: string;
  /** Units that had failed when the boot had ended, before the script ran; none when it never came so far. */
  readonly failedUnits: readonly string[];
  /** The boot's whole journal, one line an entry (short-monotonic). */
  readonly journal: string;
  /** What was seen of a boot, or its script, that hangs: jobs, password prompts; null when neither did. */
  readonly hung: string | null;
  readonly seconds: number;
  /** Folder with console, journal and the rest, for who looks into a failure. */
  readonly folder: string;
}
