import { statfs } from 'node:fs/promises';

/** What is left for us where `path` is (statfs(2)), in bytes. */
export async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}
