import { AppError } from '../../base/errors.ts';

/** Primary result codes (sqlite.org/rescode.html). */
const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;

/** What SQLite threw, in our words; anything else as it is. */
export function sqliteFault(path: string, thrown: unknown): unknown {
  if (!(thrown instanceof Error) || !('errcode' in thrown)) return thrown;
  const fault = (code: 'unavailable' | 'damaged' | 'bad-config', what: string, hint?: string) =>
    new AppError(code, `${path}: ${what}`, { hint, cause: thrown });
  switch (Number(thrown.errcode) & 0xff) {
    case FULL:
      return fault('unavailable', 'no room on the disk', 'make room; nothing was changed');
    case BUSY:
    case LOCKED:
      return fault('unavailable', 'another process holds a lock on it');
    case IOERR:
      return fault('unavailable', `reading or writing failed (${thrown.message})`);
    case READONLY:
      return fault('bad-config', 'not writable by this user');
    case CANTOPEN:
      return fault('bad-config', 'cannot be opened', 'its folder must exist and be writable by this user');
    case CORRUPT:
    case NOTADB:
      return damagedFile(path, thrown.message, thrown);
    default:
      return thrown;
  }
}

export function damagedFile(path: string, what: string, cause?: unknown): AppError {
  return new AppError('damaged', `${path}: not a sound database (${what})`, {
    hint: `nothing was overwritten: move ${path}, ${path}-wal and ${path}-shm aside, then luks-key-server restore your last backup`,
    cause,
  });
}
