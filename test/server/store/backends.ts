import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import t, { type Test } from 'tap';
import { MasterKey } from '../../../src/server/master/master-key.ts';
import { type DatabaseStore, openStore, type StoreOptions } from '../../../src/server/store/open.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { optionsFor, type Place } from './stores.ts';

/** One that somebody gets at from outside. */
export interface OpenPlace extends Place {
  /** Runs this in the database itself. */
  tamper(sql: string): Promise<void>;
}

const servers = new Map<Test, PostgresServer>();

/** One body, run on SQLite and on PostgreSQL. */
export function onBoth(title: string, body: (t: Test, place: OpenPlace) => Promise<void>): void {
  t.test(`${title}: SQLite`, async (t) => await body(t, sqlitePlace(t)));
  t.test(`${title}: PostgreSQL`, async (t) => await body(t, await postgresPlace(t, await sharedPostgres())));
}

export async function sharedPostgres(): Promise<PostgresServer> {
  const server = servers.get(t) ?? (await startPostgres(t));
  servers.set(t, server);
  return server;
}

function place(t: Test): Omit<Place, 'location'> {
  const folder = mkdtempSync(join(tmpdir(), 'store-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return { folder, tombstones: join(folder, 'tombstones'), masterKey: new MasterKey(randomBytes(32)) };
}

export function sqlitePlace(t: Test): OpenPlace {
  const common = place(t);
  const location = join(common.folder, 'keys.db');
  const tamper = async (sql: string) => {
    using database = new DatabaseSync(location);
    database.exec(sql);
  };
  return { ...common, location, tamper };
}

export async function postgresPlace(t: Test, server: PostgresServer): Promise<OpenPlace> {
  const location = await server.database();
  const tamper = async (sql: string) => {
    const client = new pg.Client(location);
    await client.connect();
    await client.query(sql).finally(() => client.end());
  };
  return { ...place(t), location, tamper };
}

/** Closed at the end of the test, if not before. */
export async function openAt(
  t: Test,
  place: Place,
  changes: Partial<StoreOptions> = {},
): Promise<DatabaseStore> {
  const store = await openStore(optionsFor(place, changes));
  t.teardown(() => store.close());
  return store;
}
