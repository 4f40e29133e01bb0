import { readFile } from 'node:fs/promises';

/** This boot's id (proc(5), /proc/sys/kernel/random/boot_id): 36 characters. */
export async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'latin1')).trim();
}
