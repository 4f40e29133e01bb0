import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { AppError, type ErrorCode } from '../base/errors.ts';
import type { Files } from '../base/ports.ts';

/** A FIFO without a writer would block open(2) for ever without O_NONBLOCK; files and disks ignore it. */
const READ = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

export const files: Files = {
  // At once: libuv's threads and Node's promises for files cost a boot 5 ms, and these are small.
  async read(path, maxBytes) {
    const bytes = readSmall(path, maxBytes);
    if (bytes === null || bytes.length <= maxBytes) return bytes;
    throw new AppError('bad-config', `${path}: expected at most ${maxBytes} bytes, got more`);
  },

  async readRange(path, offset, length) {
    await using file = await openDevice(path);
    const about = await file.stat();
    if (!about.isFile() && !about.isBlockDevice()) {
      throw new AppError('unavailable', `${path}: expected a file or block device, got ${kindOf(about)}`);
    }
    return await fill(file, path, offset, length);
  },

  async list(path) {
    try {
      return (await readdir(path)).sort();
    } catch (cause) {
      if (isAbsent(cause)) return [];
      throw unreadable(path, 'bad-config', cause);
    }
  },

  async mode(path) {
    try {
      return statSync(path).mode & 0o7777;
    } catch (cause) {
      if (isAbsent(cause)) return null;
      throw unreadable(path, 'bad-config', cause);
    }
  },
};

/** @returns null when there is no such file; one byte more than `maxBytes` when it has more */
function readSmall(path: string, maxBytes: number): Buffer | null {
  let fd: number | null = null;
  try {
    fd = openSync(path, READ);
    const about = fstatSync(fd);
    if (!about.isFile()) throw new AppError('bad-config', `${path}: expected a file, got ${kindOf(about)}`);
    // Not from the shared pool, as it may be a private key, whose holder wipes it.
    const buffer = Buffer.allocUnsafeSlow(maxBytes + 1);
    let have = 0;
    for (let got = -1; got !== 0 && have < buffer.length; have += got) {
      got = readSync(fd, buffer, have, buffer.length - have, have);
    }
    return buffer.subarray(0, have);
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    if (fd === null && isAbsent(cause)) return null;
    throw unreadable(path, 'bad-config', cause);
  } finally {
    if (fd !== null) closeSync(fd);
  }
}

async function openDevice(path: string): Promise<FileHandle> {
  try {
    return await open(path, READ);
  } catch (cause) {
    if (isAbsent(cause)) throw new AppError('unavailable', `${path}: no such file or device`);
    throw unreadable(path, 'unavailable', cause);
  }
}

/** Up to `length` bytes from `offset`, fewer at the end of the file. */
async function fill(file: FileHandle, path: string, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(length);
  let have = 0;
  while (have < length) {
    let bytesRead: number;
    try {
      ({ bytesRead } = await file.read(buffer, have, length - have, offset + have));
    } catch (cause) {
      throw unreadable(path, 'unavailable', cause);
    }
    if (bytesRead === 0) break;
    have += bytesRead;
  }
  return buffer.subarray(0, have);
}

function isAbsent(cause: unknown): boolean {
  return errnoOf(cause) === 'ENOENT' || errnoOf(cause) === 'ENOTDIR';
}

function errnoOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
}

function unreadable(path: string, code: ErrorCode, cause: unknown): AppError {
  // Another try changes nothing about permissions.
  const isForbidden = errnoOf(cause) === 'EACCES' || errnoOf(cause) === 'EPERM';
  return new AppError(isForbidden ? 'bad-config' : code, `${path}: cannot be read (${errnoOf(cause)})`, {
    hint: isForbidden ? 'it must be readable by the user that runs this, without any capability' : undefined,
    cause,
  });
}

function kindOf(about: { isDirectory(): boolean; isFIFO(): boolean }): string {
  if (about.isDirectory()) return 'a folder';
  return about.isFIFO() ? 'a pipe' : 'a device';
}
