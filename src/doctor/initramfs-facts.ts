import { limits } from '../base/limits.ts';
import type { Files, Runner } from '../base/ports.ts';
import type { CrypttabEntry } from '../luks/crypttab.ts';
import type { InitramfsFacts, Mount } from './facts.ts';

/** initramfs-tools' and dracut's. */
const LISTERS = ['/usr/bin/lsinitramfs', '/usr/bin/lsinitrd'] as const;

/** What it takes to answer in the initramfs, as paths end there. */
const NEEDED = ['usr/bin/fetch-luks-key', 'system/fetch-luks-key@.socket', 'system/fetch-luks-key@.service'];

/** Of the volumes that are opened there: what / and /usr are on, and those whose line says so (crypttab(5)). */
export async function initramfsFacts(
  entries: readonly CrypttabEntry[],
  mounts: readonly Mount[],
  { files, runner }: { readonly files: Files; readonly runner: Runner },
  signal: AbortSignal,
): Promise<InitramfsFacts[]> {
  const early = entries.filter(
    ({ volume, options }) =>
      options.includes('x-initrd.attach') ||
      options.includes('initramfs') ||
      mounts.some((mount) => mount.volume === volume && ['/', '/usr'].includes(mount.path)),
  );
  if (early.length === 0) return [];
  const release = (await files.read('/proc/sys/kernel/osrelease', limits.configBytes))?.toString().trim();
  const image = `/boot/initrd.img-${release}`;
  const listed = await list(image, files, runner, signal);
  const missing = listed && NEEDED.filter((path) => !listed.some((line) => line.endsWith(path)));
  return early.map(({ volume }) => ({ volume, image, missing }));
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
