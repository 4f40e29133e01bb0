import { limits } from '../base/limits.ts';
import type { Files, Runner } from '../base/ports.ts';
import { holdsSystem } from '../luks/mounted.ts';
import { leavesOf } from '../status/policy.ts';
import type { VolumeFacts } from '../status/volume.ts';
import type { InitramfsFacts, Mount } from './facts.ts';
import { socketUnit } from './questions.ts';

/** initramfs-tools' and dracut's. */
const LISTERS = ['/usr/bin/lsinitramfs', '/usr/bin/lsinitrd'] as const;

/** What it takes to answer in the initramfs, as paths end there. */
const NEEDED = ['usr/bin/fetch-luks-key', 'system/fetch-luks-key@.socket', 'system/fetch-luks-key@.service'];
const FOR_TPM = ['usr/bin/tpm2_load', 'usr/bin/tpm2_unseal'];

/**
 * Of the volumes that are opened there: what / and /usr are on, and those whose line says so (crypttab(5)).
 * @param mounted by volume, where what lies on it is mounted now
 */
export async function initramfsFacts(
  volumes: readonly VolumeFacts[],
  mounted: ReadonlyMap<string, readonly string[]>,
  mounts: readonly Mount[],
  { files, runner }: { readonly files: Files; readonly runner: Runner },
  signal: AbortSignal,
): Promise<InitramfsFacts[]> {
  const early = volumes.filter(({ volume, entry: { options } }) => {
    const isNamed = options.includes('x-initrd.attach') || options.includes('initramfs');
    const paths = mounts.filter((mount) => mount.volume === volume).map(({ path }) => path);
    return isNamed || holdsSystem([...paths, ...(mounted.get(volume) ?? [])]);
  });
  if (early.length === 0) return [];
  const release = (await files.read('/proc/sys/kernel/osrelease', limits.configBytes))?.toString().trim();
  const image = `/boot/initrd.img-${release}`;
  const listed = await list(image, files, runner, signal);
  return early.map((facts) => {
    const missing = listed && neededFor(facts).filter((path) => !listed.some((line) => line.endsWith(path)));
    return { volume: facts.volume, image, missing };
  });
}

function neededFor({ entry, used }: VolumeFacts): string[] {
  const asksTpm = used.some(
    ({ policy }) => policy !== null && leavesOf(policy).some(({ pin }) => pin === 'tpm2'),
  );
  // A token is in the header; a file has to come along.
  const inFiles = used
    .filter(({ keyslots }) => keyslots.length === 0)
    .map(({ where }) => where.replace(/^\//, ''));
  const link = `sysinit.target.wants/${socketUnit(entry)}`;
  return [...NEEDED, link, ...(asksTpm ? FOR_TPM : []), ...inFiles];
}

async function list(
  image: string,
  files: Files,
  runner: Runner,
  signal: AbortSignal,
): Promise<string[] | null> {
  for (const lister of LISTERS) {
    if ((await files.mode(lister)) === null) continue;
    const options = { timeoutMs: limits.actionTimeoutMs, maxOutputBytes: limits.unitGraphBytes, signal };
    const { status, stdout } = await runner.run(lister, [image], options);
    return status === 0 ? stdout.toString().split('\n') : null;
  }
  return null;
}
