import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import type { Target } from './target.ts';

/**
 * The initramfs opens what / and /usr are on, and has neither our socket nor use for a line that names it: Debian's then
 * leaves the volume out, and the machine does not boot.
 * @throws AppError `refused`
 */
export async function refuseEarly({ volume, uuid, entry }: Target, files: Files): Promise<void> {
  const options = entry?.options ?? [];
  const isNamed = options.includes('initramfs') || options.includes('x-initrd.attach');
  if (!isNamed && !(await holdsSystem(volume, uuid, files))) return;
  throw new AppError('refused', `${volume} is opened in the initramfs, which has no socket to ask`, {
    hint: 'enroll --no-crypttab seals a key of it all the same, and what Clevis’ own initramfs knows opens it there',
  });
}

/** As /proc/self/mountinfo has it (proc_pid_mountinfo(5)). */
async function holdsSystem(volume: string, uuid: string, files: Files): Promise<boolean> {
  for (const line of (await text('/proc/self/mountinfo', files)).split('\n')) {
    const [head = '', tail = ''] = line.split(' - ');
    const [, , numbers = '', , mountPoint = ''] = head.split(' ');
    if (mountPoint !== '/' && mountPoint !== '/usr') continue;
    // A file system on several disks has numbers of its own, and only its source to tell.
    if (tail.split(' ')[1] === `/dev/mapper/${volume}`) return true;
    if (await liesOn(numbers, uuid, files)) return true;
  }
  return false;
}

/** Whether a block device is this LUKS volume, or lies on it, as a logical volume does. */
async function liesOn(numbers: string, uuid: string, files: Files): Promise<boolean> {
  const folder = `/sys/dev/block/${numbers}`;
  const id = await text(`${folder}/dm/uuid`, files);
  if (id.startsWith(`CRYPT-LUKS2-${uuid.replaceAll('-', '')}-`)) return true;
  for (const below of await files.list(`${folder}/slaves`)) {
    if (await liesOn((await text(`/sys/class/block/${below}/dev`, files)).trim(), uuid, files)) return true;
  }
  return false;
}

async function text(path: string, files: Files): Promise<string> {
  return (await files.read(path, limits.configBytes))?.toString() ?? '';
}
