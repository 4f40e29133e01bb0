import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { AppError } from '../base/errors.ts';
import type { HeldLock, Locks } from '../base/ports.ts';
import { tryFlock } from './libc.ts';

/** A note is a few words; more in the file was not written by us. */
const NOTE_BYTES = 256;

/** First and longest pause between two tries: a holder needs some 100 ms, and up to 64 may wait. */
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 50;

/**
 * Locks by flock(2) on files in `folder`, so that the kernel releases them however their holder ends. The files stay:
 * removing one would let two processes lock two files of the same name.
 */
export function locksIn(folder: string): Locks {
  return {
    async acquire(name, waitMs, signal) {
      const path = `${folder}/${name}.lock`;
      const fd = openLockFile(folder, path);
      try {
        await lock(fd, path, waitMs, signal);
        return heldLock(fd);
      } catch (thrown) {
        closeSync(fd);
        throw thrown;
      }
    },
  };
}

/**
 * Where locks are: one place for all processes of root, one for those of each other user, both in memory and gone
 * after a reboot, as the TPM's sessions are.
 * @throws AppError `bad-config` when there is none
 */
export function lockFolder(uid: number, environment: NodeJS.ProcessEnv): string {
  if (uid === 0) return '/run/fetch-luks-key';
  const { XDG_RUNTIME_DIR: runtime } = environment;
  if (runtime?.startsWith('/')) return `${runtime}/fetch-luks-key`;
  throw new AppError(
    'bad-config',
    `lock folder: expected XDG_RUNTIME_DIR to name one for user ${uid}, got ${JSON.stringify(runtime ?? '')}`,
    { hint: 'run as root, or from a login session of systemd' },
  );
}

function openLockFile(folder: string, path: string): number {
  const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
    throw new AppError('bad-config', `lock ${path}: cannot be opened (${reason})`, { cause });
  }
}

async function lock(fd: number, path: string, waitMs: number, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + waitMs;
  for (let longest = FIRST_PAUSE_MS; ; longest = Math.min(longest * 2, LONGEST_PAUSE_MS)) {
    if (signal.aborted) throw new AppError('stopped', `lock ${path}: stopped while waiting`);
    if (tryFlock(fd)) return;
    if (performance.now() >= deadline) {
      throw new AppError('unavailable', `lock ${path}: held by another process for ${waitMs / 1000} s`);
    }
    // Half of each pause is random, so that those who wait do not come in step.
    await pause(longest * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {});
  }
}

function heldLock(fd: number): HeldLock {
  const bytes = Buffer.alloc(Math.min(fstatSync(fd).size, NOTE_BYTES));
  readSync(fd, bytes, 0, bytes.length, 0);
  let held = true;
  return {
    leftBehind: bytes.toString(),
    note(text) {
      ftruncateSync(fd, 0);
      writeSync(fd, text, 0);
    },
    [Symbol.dispose]() {
      // Nobody else has this open file description, so closing it releases the lock.
      if (held) closeSync(fd);
      held = false;
    },
  };
}
