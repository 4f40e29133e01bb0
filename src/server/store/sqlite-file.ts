import { AppError } from '../../base/errors.ts';
import type { DurableFiles, HeldLock, Locks } from '../../base/ports.ts';
import type { Database } from './database.ts';
import { migrate } from './schema.ts';
import { SqliteDatabase } from './sqlite.ts';
import { damagedFile } from './sqlite-faults.ts';

/** How long a process that is just being stopped may still hold the file. */
const LOCK_WAIT_MS = 5_000;

/**
 * The database in a file, and this process its only user: two would advance the lease clock twice as fast, and
 * neither would hear the other's events.
 * @throws AppError `damaged` (nothing is overwritten), `bad-config`, `unavailable`, `stopped`
 */
export async function openSqlite(
  path: string,
  files: DurableFiles,
  locks: Locks,
  signal: AbortSignal,
): Promise<Database> {
  const lock = await hold(path, locks, signal);
  try {
    if (files.size(path) === null) await make(path, files);
    // An empty file is what a full disk or a careless hand leaves, not a store that knows nobody.
    if (files.size(path) === 0) throw damagedFile(path, 'it is empty');
    const database = new SqliteDatabase(path, lock);
    try {
      database.check();
    } catch (thrown) {
      await database.close();
      throw thrown;
    }
    return database;
  } catch (thrown) {
    lock[Symbol.dispose]();
    throw thrown;
  }
}

/** It gets its name only when it is whole. SQLite gives its other files the mode of this one. */
async function make(path: string, files: DurableFiles): Promise<void> {
  const unfinished = `${path}.new`;
  files.create(unfinished);
  const database = new SqliteDatabase(unfinished);
  try {
    await migrate(database);
  } finally {
    await database.close();
  }
  files.rename(unfinished, path);
}

async function hold(path: string, locks: Locks, signal: AbortSignal): Promise<HeldLock> {
  try {
    return await locks.acquire(path.slice(path.lastIndexOf('/') + 1), LOCK_WAIT_MS, signal);
  } catch (cause) {
    if (!(cause instanceof AppError) || cause.code !== 'unavailable') throw cause;
    throw new AppError('unavailable', `${path}: in use`, {
      hint: 'another luks-key-server serves from it: stop that first, or ask it through its socket',
      cause,
    });
  }
}
