import { AppError } from '../../base/errors.ts';
import { type Database, numberOf, type Query } from './database.ts';

/**
 * Each entry makes the next version of the schema. SQL for both databases: SQLite keeps bytes in a column of any type
 * and takes `bigint` for an integer.
 */
const migrations: readonly (readonly string[])[] = [
  [
    // One row: who this store is, the version that new rows are sealed under, the lease clock.
    `CREATE TABLE store (one bigint PRIMARY KEY CHECK (one = 1), id text NOT NULL, master_version bigint NOT NULL,
      lease_ms bigint NOT NULL, ticked_ms bigint NOT NULL)`,
    'CREATE TABLE master_keys (version bigint PRIMARY KEY, proof bytea NOT NULL)',
    `CREATE TABLE machines (id text PRIMARY KEY, name text NOT NULL UNIQUE, pin bytea UNIQUE, tang text UNIQUE,
      revoked bigint NOT NULL, state text NOT NULL, version bigint NOT NULL, mark bytea NOT NULL)`,
    'CREATE INDEX machines_revoked ON machines (id) WHERE revoked = 1',
    `CREATE TABLE exchange_keys (kid text PRIMARY KEY, machine text NOT NULL REFERENCES machines (id),
      curve text NOT NULL, public text NOT NULL, sealed bytea NOT NULL, version bigint NOT NULL, deleted_ms bigint)`,
    'CREATE INDEX exchange_keys_machine ON exchange_keys (machine)',
    'CREATE INDEX exchange_keys_deleted ON exchange_keys (deleted_ms) WHERE deleted_ms IS NOT NULL',
    `CREATE TABLE invitations (hash bytea PRIMARY KEY, name text NOT NULL UNIQUE, expires_ms bigint NOT NULL,
      details text NOT NULL)`,
    'CREATE TABLE audit (seq bigint PRIMARY KEY, hash bytea NOT NULL, record text NOT NULL)',
    'CREATE TABLE audit_head (one bigint PRIMARY KEY CHECK (one = 1), seq bigint NOT NULL, hash bytea NOT NULL)',
    `CREATE TABLE signed_heads (seq bigint PRIMARY KEY, hash bytea NOT NULL, wall_ms bigint NOT NULL,
      signer bytea NOT NULL, signature bytea NOT NULL)`,
    'CREATE TABLE schema_version (version bigint PRIMARY KEY)',
  ],
];

const TABLES = {
  sqlite: "SELECT name FROM sqlite_schema WHERE type = 'table'",
  postgres: 'SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()',
};

/** Any number: what matters is that no other program of this database uses it. */
const SCHEMA_LOCK = 0x6c6b_7331;

/** One process at a time from here to the end of the transaction. SQLite has one writer anyway. */
export async function lockSchema(query: Query): Promise<void> {
  if (query.dialect === 'postgres') await query.rows('SELECT pg_advisory_xact_lock(?1)', SCHEMA_LOCK);
}

/**
 * Brings the database to this program's schema.
 * @throws AppError `bad-config` when a newer program made it
 */
export async function migrate(database: Database): Promise<void> {
  await database.transaction(async (query) => {
    await lockSchema(query);
    const from = await schemaVersion(query);
    if (from > migrations.length) {
      throw new AppError(
        'bad-config',
        `database: expected schema version ${migrations.length} or older, got ${from}`,
        { hint: 'a newer luks-key-server made it: run that, or restore a backup of this version' },
      );
    }
    for (const statement of migrations.slice(from).flat()) await query.change(statement);
    await query.change('DELETE FROM schema_version');
    await query.change('INSERT INTO schema_version (version) VALUES (?1)', migrations.length);
  });
}

/** 0 where there is no table yet. */
async function schemaVersion(query: Query): Promise<number> {
  const tables = await query.rows(TABLES[query.dialect]);
  if (!tables.some((row) => row['name'] === 'schema_version')) return 0;
  const [row] = await query.rows('SELECT version FROM schema_version');
  return row === undefined ? 0 : numberOf(row, 'version');
}
