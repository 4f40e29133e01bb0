import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';

/**
 * Where file systems are mounted now that lie on a LUKS2 volume, itself or by logical volumes on it
 * (proc_pid_mountinfo(5)).
 * @param uuid of its header
 */
export async function mountedOn(volume: string, uuid: string, files: Files): Promise<string[]> {
  const paths: string[] = [];
  for (const line of (await textOf('/proc/self/mountinfo', files)).split('\n')) {
    const [head = '', tail = ''] = line.split(' - ');
    const [, , numbers = '', , path = ''] = head.split(' ');
    // A file system on several disks has numbers of its own, and only its source to tell.
    const isNamed = tail.split(' ')[1] === `/dev/mapper/${volume}`;
    if (isNamed || (await liesOn(numbers, uuid, files))) paths.push(unescaped(path));
  }
  return paths;
}

/** Whether the initramfs has to open it. */
export function holdsSystem(paths: readonly string[]): boolean {
  return paths.includes('/') || paths.includes('/usr');
}

/** Whether a block device is this LUKS volume, or lies on it, as a logical volume does. */
async function liesOn(numbers: string, uuid: string, files: Files): Promise<boolean> {
  // 0: a file system without a device.
  if (!/^[1-9]\d*:\d+$/.test(numbers)) return false;
  const folder = `/sys/dev/block/${numbers}`;
  const id = await textOf(`${folder}/dm/uuid`, files);
  if (id.startsWith(`CRYPT-LUKS2-${uuid.replaceAll('-', '')}-`)) return true;
  for (const below of await files.list(`${folder}/slaves`)) {
    if (await liesOn((await textOf(`/sys/class/block/${below}/dev`, files)).trim(), uuid, files)) return true;
  }
  return false;
}

/** `\040` is a space. */
function unescaped(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
}

async function textOf(path: string, files: Files): Promise<string> {
  return (await files.read(path, limits.configBytes))?.toString() ?? '';
}
