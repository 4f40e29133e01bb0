import { AppError } from '../base/errors.ts';
import type { Files } from '../base/ports.ts';
import { holdsSystem, mountedOn } from '../luks/mounted.ts';
import type { Target } from './target.ts';

/**
 * The initramfs opens what / and /usr are on, and has neither our socket nor use for a line that names it: Debian's then
 * leaves the volume out, and the machine does not boot.
 * @throws AppError `refused`
 */
export async function refuseEarly({ volume, uuid, entry }: Target, files: Files): Promise<void> {
  const options = entry?.options ?? [];
  const isNamed = options.includes('initramfs') || options.includes('x-initrd.attach');
  if (!isNamed && !holdsSystem(await mountedOn(volume, uuid, files))) return;
  throw new AppError('refused', `${volume} is opened in the initramfs, which has no socket to ask`, {
    hint: 'enroll --no-crypttab seals a key of it all the same, and what Clevis’ own initramfs knows opens it there',
  });
}
