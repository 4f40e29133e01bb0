import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { locksIn } from '../../src/os/locks.ts';
import { HarnessError } from './command.ts';

/** Another process may build the same thing meanwhile; a base image takes about two minutes. */
const BUILD_WAIT_MS = 20 * 60_000;
const KEEP_MS = 7 * 86_400_000;
const KEPT = new Set(['locks', 'runs']);

/** Where what takes long to build is kept, outside the work tree: the user's cache folder, or root's of the machine. */
export function cacheFolder(): string {
  const { XDG_CACHE_HOME: home } = process.env;
  const folder = join(home?.startsWith('/') ? home : '/var/cache', 'fetch-luks-key-vm-tests');
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  return folder;
}

/**
 * A folder of the cache, built when it is not there. Who asks for it while it is built waits.
 * @param inputs all that the result depends on; another value makes another folder
 * @param freeMb what must be free on the disk before `build` starts
 * @param build fills the empty folder that it is given; the folder gets its name when all of it is there
 */
export async function cached(
  name: string,
  inputs: unknown,
  freeMb: number,
  build: (folder: string) => Promise<void>,
): Promise<string> {
  const key = createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 16);
  const finished = join(cacheFolder(), `${name}-${key}`);
  if (existsSync(finished)) return used(finished);
  using _lock = await locksIn(join(cacheFolder(), 'locks')).acquire(
    basename(finished),
    BUILD_WAIT_MS,
    new AbortController().signal,
  );
  if (existsSync(finished)) return used(finished);
  needSpace(cacheFolder(), freeMb, `build of ${name}`);
  const folder = mkdtempSync(join(cacheFolder(), `${name}.unfinished-`));
  try {
    await build(folder);
    renameSync(folder, finished);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return finished;
}

/** Its time is when it was last of use. */
function used(finished: string): string {
  const now = new Date();
  utimesSync(finished, now, now);
  return finished;
}

/** Removes what nobody has asked for in a week: images of older packages, logs of older failures. */
export function forgetOld(nowMs: number): void {
  for (const folder of [cacheFolder(), join(cacheFolder(), 'runs')]) {
    for (const name of existsSync(folder) ? readdirSync(folder) : []) {
      const path = join(folder, name);
      if (KEPT.has(name) || nowMs - statSync(path).mtimeMs < KEEP_MS) continue;
      rmSync(path, { recursive: true });
    }
  }
}

/** @throws HarnessError when the disk of `folder` has less than `megabytes` free */
export function needSpace(folder: string, megabytes: number, step: string): void {
  const { bavail, bsize } = statfsSync(folder);
  const free = Math.floor((bavail * bsize) / 2 ** 20);
  if (free < megabytes) {
    throw new HarnessError(step, `no disk space: expected ${megabytes} MB free in ${folder}, got ${free} MB`);
  }
}
