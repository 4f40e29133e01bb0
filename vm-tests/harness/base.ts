import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cached } from './cache.ts';
import { command, HarnessError, outputOf } from './command.ts';
import { type Suite, suites } from './guest.ts';
import { say } from './progress.ts';

/**
 * What is installed beside Debian's essential packages, for both tiers, so that a suite is downloaded once. Our
 * package's own dependencies are among it, as the guests have no network to fetch them by.
 */
const EVERYWHERE = [
  ...['systemd', 'systemd-sysv', 'dbus', 'udev', 'kmod', 'mount', 'e2fsprogs', 'iproute2', 'procps'],
  ...[
    'cryptsetup',
    'cryptsetup-bin',
    'tpm2-tools',
    'libstdc++6',
    'libatomic1',
    'ca-certificates',
    'openssl',
    'apt',
  ],
  ...['tang-common', 'jose', 'socat', 'clevis', 'clevis-luks', 'clevis-tpm2'],
];
// journald 257 seals by libgcrypt, which systemd only suggests.
const FROM_13 = [
  ...EVERYWHERE,
  'libgcrypt20',
  'systemd-cryptsetup',
  'libtss2-tcti-device0t64',
  'libtss2-rc0t64',
];

/** By suite. The TPM libraries are what systemd itself loads by name for `tpm2-device=`. */
const PACKAGES: Readonly<Record<Suite, readonly string[]>> = {
  bookworm: [...EVERYWHERE, 'libtss2-tcti-device0', 'libtss2-esys-3.0.2-0', 'libtss2-rc0'],
  trixie: [...FROM_13, 'libtss2-esys-3.0.2-0t64', 'libtss2-mu-4.0.1-0t64'],
  forky: [...FROM_13, 'libtss2-esys-3.0.2-0t64', 'libtss2-mu-4.0.1-0t64'],
};

/** The kernel's package goes into the cache as it is: containers need none, machines take parts of it. */
const DOWNLOAD_KERNEL = `set -e; cd "$(mktemp -d)"; export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \\(linux-image-[0-9].*\\)/\\1/p' | head -n 1)
apt-get download "$kernel"; mv linux-image-*.deb `;

/** Nobody has a password, and a machine without an id would take its first boot for a first boot. */
const ACCOUNTS = `sed -i 's/^root:[^:]*:/root::/' "$1/etc/shadow"; echo guest > "$1/etc/hostname"
echo 0123456789abcdef0123456789abcdef > "$1/etc/machine-id"`;

const BUILD_MS = 10 * 60_000;
const FREE_MB = 2500;

/** Debian's base system of a suite, as the host's own mirror has it today: a tar of the root file system. */
export async function rootTar(suite: Suite, packages: readonly string[] = []): Promise<string> {
  return join(await image(suite, packages), 'root.tar');
}

/** linux-image-cloud of the suite, as a .deb. */
export async function kernelPackage(suite: Suite, packages: readonly string[] = []): Promise<string> {
  return join(await image(suite, packages), 'kernel.deb');
}

/** The same root file system unpacked. It is shared: never write to it. */
export async function rootTree(suite: Suite): Promise<string> {
  const tar = await rootTar(suite);
  const folder = await cached(`tree-${suite}`, tar, FREE_MB, async (folder) => {
    say(`${suite}: unpacking the base system`);
    const root = join(folder, 'root');
    mkdirSync(root);
    const log = join(folder, 'log');
    const step = `${suite}: unpacking the base system`;
    await command(['tar', '-xf', tar, '-C', root, '--exclude=./dev/*'], { step, log, timeoutMs: BUILD_MS });
  });
  return join(folder, 'root');
}

function image(suite: Suite, more: readonly string[]): Promise<string> {
  const packages = [...PACKAGES[suite], ...more];
  const inputs = { suite, packages, DOWNLOAD_KERNEL, ACCOUNTS };
  return cached(`base-${suite}`, inputs, FREE_MB, async (folder) => {
    const step = `${suite}: base system of ${packages.length} packages`;
    say(`${step}: downloading and installing, about two minutes`);
    // Outside the folder, which goes away when this fails.
    const log = `${folder}.log`;
    const tar = join(folder, 'root.tar');
    await command(mmdebstrap(suite, packages, folder, tar), { step, log, timeoutMs: BUILD_MS });
    rmSync(log);
    say(`${suite}: base system with systemd ${suites[suite]} is there`);
  });
}

function mmdebstrap(suite: Suite, packages: readonly string[], folder: string, tar: string): string[] {
  return [
    'mmdebstrap',
    '--variant=essential',
    '--mode=root',
    '--format=tar',
    `--include=${packages.join(',')}`,
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
    // Testing's release file may be older than it says it is good for.
    '--aptopt=Acquire::Check-Valid-Until "false"',
    ...['man', 'doc', 'locale'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
    `--customize-hook=${DOWNLOAD_KERNEL}'${folder}/kernel.deb'`,
    `--customize-hook=${ACCOUNTS}`,
    suite,
    tar,
    `deb ${mirror()} ${suite} main`,
  ];
}

/** The one that this machine's own apt uses. */
export function mirror(): string {
  const step = 'search for a Debian mirror';
  const indexes = ['apt-get', 'indextargets', '--format', '$(SITE)', 'Created-By: Packages'];
  const sites = outputOf(step, indexes).split('\n');
  const site = sites.find((site) => site !== '' && !site.includes('security'));
  if (site === undefined) {
    throw new HarnessError(step, 'apt-get indextargets names none: run apt-get update');
  }
  return site;
}
