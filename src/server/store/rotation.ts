import { AppError } from '../../base/errors.ts';
import { serverLimits } from '../../base/server-limits.ts';
import type { MasterKey } from '../master/master-key.ts';
import { bytesOf, type Database, numberOf, type Query } from './database.ts';
import { olderKeys, resealKey } from './exchange-keys.ts';
import { olderMachines, updateMachine } from './machines.ts';
import type { DatabaseStore } from './open.ts';

/**
 * Brings every row under `next`, and forgets the old key. Other processes go on meanwhile, as long as they were given
 * both; a rotation that was cut off is taken up
 * where it stopped.
 * @returns the new version
 * @throws AppError `bad-config` when `next` is an older key of this store; `damaged` when a row was tampered with
 */
export async function rotateMaster(store: DatabaseStore, next: MasterKey): Promise<number> {
  const { database, keyring } = store;
  keyring.add(next);
  const version = await database.transaction((query) => begin(query, next));
  await eachPage(database, async (query, after) => {
    const machines = await olderMachines(query, keyring, version, after, serverLimits.pageRows);
    for (const machine of machines) await updateMachine(query, keyring, { ...machine, version });
    return machines.at(-1)?.id;
  });
  await eachPage(database, async (query, after) => {
    const keys = await olderKeys(query, keyring, version, after, serverLimits.pageRows);
    for (const key of keys) await resealKey(query, keyring, key, version);
    return keys.at(-1)?.kid;
  });
  await database.transaction(async (query) => {
    await query.change('DELETE FROM master_keys WHERE version < ?1', version);
  });
  store.scrubSoon();
  return version;
}

/** New rows are sealed under the new version from here on. */
async function begin(query: Query, next: MasterKey): Promise<number> {
  const [store = {}] = await query.rows('SELECT master_version FROM store FOR UPDATE');
  const current = numberOf(store, 'master_version');
  for (const row of await query.rows('SELECT version, proof FROM master_keys')) {
    if (!bytesOf(row, 'proof').equals(next.proof)) continue;
    if (numberOf(row, 'version') === current) return current;
    throw new AppError(
      'bad-config',
      'master rotate: expected a new master key, got an older one of this store',
    );
  }
  await query.change('INSERT INTO master_keys (version, proof) VALUES (?1, ?2)', current + 1, next.proof);
  await query.change('UPDATE store SET master_version = ?1', current + 1);
  return current + 1;
}

/** A transaction for each page, until one is empty. @param page works on what comes after a row, and names its last */
async function eachPage(
  database: Database,
  page: (query: Query, after: string) => Promise<string | undefined>,
): Promise<void> {
  let after: string | undefined = '';
  while (after !== undefined) {
    const from: string = after;
    after = await database.transaction((query) => page(query, from));
  }
}
