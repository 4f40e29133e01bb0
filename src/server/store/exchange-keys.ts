import type { Secret } from '../../base/secret.ts';
import { fields } from '../master/fields.ts';
import { bytesOf, numberOf, orNull, type Query, type Row, textOf } from './database.ts';
import type { Keyring } from './keyring.ts';
import type { ExchangeKey, NewExchangeKey } from './store.ts';

const COLUMNS = 'kid, machine, curve, public, sealed, version, deleted_ms';

/** A key that is moved to another machine, id, curve, store or version does not open. */
function sealContext(key: NewExchangeKey, storeId: string, version: number): Buffer {
  return fields('exchange key', key.machine, key.kid, key.curve, key.public, storeId, version);
}

/** Wipes `privateKey`. @returns false when there is such a key */
export async function insertKey(
  query: Query,
  keyring: Keyring,
  added: NewExchangeKey,
  privateKey: Secret,
  deletedMs: number | null = null,
): Promise<boolean> {
  const { version, key } = await keyring.current(query);
  using secret = privateKey;
  const changed = await query.change(
    `INSERT INTO exchange_keys (${COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING`,
    added.kid,
    added.machine,
    added.curve,
    added.public,
    key.seal(secret.reveal(), sealContext(added, keyring.storeId, version)),
    version,
    deletedMs,
  );
  return changed === 1;
}

export async function findKey(query: Query, keyring: Keyring, kid: string): Promise<ExchangeKey | null> {
  const [row] = await query.rows(`SELECT ${COLUMNS} FROM exchange_keys WHERE kid = ?1`, kid);
  return row === undefined ? null : keyOf(query, keyring, row);
}

export async function keysOfMachine(query: Query, keyring: Keyring, machine: string): Promise<ExchangeKey[]> {
  const sql = `SELECT ${COLUMNS} FROM exchange_keys WHERE machine = ?1 ORDER BY kid`;
  return (await query.rows(sql, machine)).map((row) => keyOf(query, keyring, row));
}

/** For a rotation: those after `after` that are sealed under an older version, locked. */
export async function olderKeys(
  query: Query,
  keyring: Keyring,
  version: number,
  after: string,
  count: number,
): Promise<ExchangeKey[]> {
  const sql = `SELECT ${COLUMNS} FROM exchange_keys WHERE version < ?1 AND kid > ?2 ORDER BY kid LIMIT ?3 FOR UPDATE`;
  return (await query.rows(sql, version, after, count)).map((row) => keyOf(query, keyring, row));
}

export async function resealKey(
  query: Query,
  keyring: Keyring,
  key: ExchangeKey,
  version: number,
): Promise<void> {
  using secret = await key.open();
  const master = await keyring.of(query, version);
  const sealed = master.seal(secret.reveal(), sealContext(key, keyring.storeId, version));
  await query.change(
    'UPDATE exchange_keys SET sealed = ?2, version = ?3 WHERE kid = ?1',
    key.kid,
    sealed,
    version,
  );
}

function keyOf(query: Query, keyring: Keyring, row: Row): ExchangeKey {
  const key = {
    kid: textOf(row, 'kid'),
    machine: textOf(row, 'machine'),
    curve: textOf(row, 'curve'),
    public: textOf(row, 'public'),
  };
  const version = numberOf(row, 'version');
  const sealed = bytesOf(row, 'sealed');
  return {
    ...key,
    deletedMs: orNull(row, 'deleted_ms', numberOf),
    open: async () => {
      const master = await keyring.of(query, version);
      return master.open(sealed, sealContext(key, keyring.storeId, version));
    },
  };
}
