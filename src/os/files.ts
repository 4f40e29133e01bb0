import { constants } from 'node:fs';
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { AppError, type ErrorCode } from '../base/errors.ts';
import type { Files } from '../base/ports.ts';

/** A FIFO without a writer would block open(2) for ever without O_NONBLOCK; files and disks ignore it. */
const READ = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

export const files: Files = {
  async read(path, maxBytes) {
    await using file = await openForRead(path, 'bad-config');
    if (file === null) return null;
    const about = await file.stat();
    if (!about.isFile()) throw new AppError('bad-config', `${path}: expected a file, got ${kindOf(about)}`);
    const bytes = await fill(file, path, 0, maxBytes + 1, 'bad-config');
    if (bytes.length <= maxBytes) return bytes;
    throw new AppError('bad-config', `${path}: expected at most ${maxBytes} bytes, got more`);
  },

  async readRange(path, offset, length) {
    await using file = await openForRead(path, 'unavailable');
    if (file === null) throw new AppError('unavailable', `${path}: no such file or device`);
    const about = await file.stat();
    if (!about.isFile() && !about.isBlockDevice()) {
      throw new AppError('unavailable', `${path}: expected a file or block device, got ${kindOf(about)}`);
    }
    return await fill(file, path, offset, length, 'unavailable');
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
      return (await stat(path)).mode & 0o7777;
    } catch (cause) {
      if (isAbsent(cause)) return null;
      throw unreadable(path, 'bad-config', cause);
    }
  },
};

async function openForRead(path: string, code: ErrorCode): Promise<FileHandle | null> {
  try {
    return await open(path, READ);
  } catch (cause) {
    if (isAbsent(cause)) return null;
    throw unreadable(path, code, cause);
  }
}

/**
 * Up to `length` bytes from `offset`, fewer at the end of the file. Not from the shared pool, as it may be a private
 * key, whose holder wipes it.
 */
async function fill(
  file: FileHandle,
  path: string,
  offset: number,
  length: number,
  code: ErrorCode,
): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(length);
  let have = 0;
  while (have < length) {
    let bytesRead: number;
    try {
      ({ bytesRead } = await file.read(buffer, have, length - have, offset + have));
    } catch (cause) {
      throw unreadable(path, code, cause);
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
