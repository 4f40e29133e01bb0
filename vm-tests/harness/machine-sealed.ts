import { type Guest, plainGuest } from './guest.ts';
import { fileSystem, makeVolume, type Volume } from './machine-volume.ts';
import { jwePath } from './sealed.ts';
import { SOCKET, SOCKET_UNIT } from './volumes.ts';

/** A volume with a file system on it, for a machine, where it is opened and mounted for real. */
export interface SealedVolume {
  readonly name: string;
  /** Default: the disk with this serial number. */
  readonly device?: string;
  /** Sealed key; null when config.yaml says where the key is. */
  readonly sealed: string | null;
  /** Fourth column of crypttab; default `luks`. */
  readonly options?: string;
  /** Where fstab mounts it; default /mnt/NAME. */
  readonly at?: string;
  /** Fourth column of fstab; default `defaults`. Null = no line. */
  readonly mount?: string | null;
}

/** Half a minute on a quiet host; on a busy one several times as long. */
const WATCHDOG_SECONDS = 180;

const FILE_SYSTEM_MB = 8;
/** A disk for `Guest.disks`, which holds a file system, and its key. */
export function makeSealable(folder: string, serial: string): Volume & { readonly serial: string } {
  return { serial, ...makeVolume(`${folder}/${serial}.luks`, fileSystem(folder, FILE_SYSTEM_MB)) };
}

/** A machine that opens these volumes through our socket, as README has it written. */
export function machineWith(
  volumes: readonly SealedVolume[],
  given: Partial<Guest> & Pick<Guest, 'disks'>,
): Guest {
  const { enable = [], files = {}, ...others } = given;
  const line = (words: readonly string[]) => `${words.join(' ')}\n`;
  const crypttab = volumes.map(({ name, device = `/dev/disk/by-id/virtio-${name}`, options = 'luks' }) =>
    line([name, device, SOCKET, options]),
  );
  const fstab = volumes.flatMap(({ name, at = `/mnt/${name}`, mount = 'defaults' }) =>
    mount === null ? [] : [line([`/dev/mapper/${name}`, at, 'ext4', mount, '0', '0'])],
  );
  const keys = volumes.flatMap(({ name, sealed }) =>
    sealed === null ? [] : [[jwePath(name), { content: sealed, mode: 0o600 }] as const],
  );
  return {
    ...plainGuest,
    watchdogSeconds: WATCHDOG_SECONDS,
    ...others,
    enable: [SOCKET_UNIT, ...enable],
    files: {
      '/etc/crypttab': { content: crypttab.join('') },
      '/etc/fstab': { content: fstab.join('') },
      ...Object.fromEntries(keys),
      ...files,
    },
  };
}

/** Shell lines that show what is mounted there. */
export const showMounted = (...points: readonly string[]) =>
  points.map((at) => `echo "${at}: $(findmnt -n -o SOURCE ${at})"\n`).join('');

/** Shell lines that show what waits for the volume's unit. */
export const showBefore = (volume: string) =>
  `systemctl show -p Before systemd-cryptsetup@${volume}.service | sed 's/^/${volume}: /'\n`;

/**
 * Shell lines that show what is loaded in the TPM itself, behind the kernel's resource manager, which hides what
 * others have there. An empty list is one without lines.
 */
export const SHOW_TPM = `for kind in loaded-session saved-session transient; do
  echo "tpm: $kind:"; tpm2_getcap -T device:/dev/tpm0 handles-$kind || echo failed
done; echo 'tpm: end'\n`;
