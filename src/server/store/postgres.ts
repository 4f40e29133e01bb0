import pg from 'pg';
import { AppError } from '../../base/errors.ts';
import type { Clock } from '../../base/ports.ts';
import { serverLimits } from '../../base/server-limits.ts';
import {
  type Database,
  type Query,
  ROW_LOCK,
  type Row,
  type StoreEvent,
  type Value,
  type Work,
} from './database.ts';
import { postgresFault, unsafe } from './postgres-faults.ts';
import { listen } from './postgres-listener.ts';

const INT8 = 20;

/** 64-bit integers as numbers: all of ours are milliseconds or counters. */
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text') =>
    oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

/** One database for several processes: rows are locked one by one, connections are made again when they break. */
export class PostgresDatabase implements Database {
  readonly #pool: pg.Pool;
  readonly #stop = new AbortController();
  readonly #listening: Promise<void>;
  readonly #listeners: ((event: StoreEvent) => void)[] = [];
  #beforeUse: Work<void> | null = null;

  /** @param url `postgres://…`; a password belongs into the file that PGPASSFILE names */
  constructor(url: string, clock: Clock) {
    const config: pg.ClientConfig = {
      connectionString: url,
      application_name: 'luks-key-server',
      types,
      keepAlive: true,
      options: '-c synchronous_commit=on',
      lock_timeout: serverLimits.lockWaitMs,
      statement_timeout: serverLimits.statementMs,
      idle_in_transaction_session_timeout: serverLimits.statementMs,
      connectionTimeoutMillis: serverLimits.lockWaitMs,
      // The host may be gone without a word: we give up a little after the server would have.
      query_timeout: serverLimits.statementMs + serverLimits.lockWaitMs,
    };
    const prepare = async (client: pg.ClientBase) => {
      // One that breaks between two statements says so here, and again to the next statement.
      client.on('error', () => {});
      await refuseUnsafe(client);
      if (this.#beforeUse !== null) await within(client, 'BEGIN', this.#beforeUse, false);
    };
    this.#pool = new pg.Pool({
      ...config,
      max: serverLimits.databaseConnections - 1,
      idleTimeoutMillis: 0,
      // pg-pool waits for it; only its type says that it does not.
      onConnect: prepare as (client: pg.ClientBase) => void,
    });
    // A connection that breaks while nobody uses it: the next transaction makes another.
    this.#pool.on('error', () => {});
    const tell = (event: StoreEvent) => {
      for (const listener of this.#listeners) listener(event);
    };
    this.#listening = listen(() => new pg.Client(config), clock, this.#stop.signal, tell);
  }

  async transaction<T>(work: Work<T>): Promise<T> {
    return await this.#borrowed('BEGIN', work, false);
  }

  async snapshot<T>(work: Work<T>): Promise<T> {
    return await this.#borrowed('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY', work, true);
  }

  /** PostgreSQL cannot overwrite: what was deleted stays in its files and archives until they are written again. */
  scrub(): boolean {
    return true;
  }

  beforeUse(work: Work<void>): void {
    this.#beforeUse = work;
  }

  subscribe(listener: (event: StoreEvent) => void): void {
    this.#listeners.push(listener);
  }

  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    await Promise.all([this.#listening, this.#pool.end()]);
  }

  async #borrowed<T>(begin: string, work: Work<T>, isReading: boolean): Promise<T> {
    if (this.#stop.signal.aborted) throw new AppError('unavailable', 'database: closed');
    const client = await this.#pool.connect().catch(rethrow);
    try {
      const result = await within(client, begin, work, isReading);
      client.release();
      return result;
    } catch (thrown) {
      // Whatever state such a connection is in, another one is not: the server rolls back when it ends.
      client.release(thrown instanceof AppError && thrown.code === 'unavailable');
      throw thrown;
    }
  }
}

async function within<T>(
  client: pg.ClientBase,
  begin: string,
  work: Work<T>,
  isReading: boolean,
): Promise<T> {
  const query = new PostgresQuery(client, isReading);
  await client.query(begin).catch(rethrow);
  try {
    const result = await work(query);
    const { command } = await client.query('COMMIT').catch(rethrow);
    // A transaction in which a statement failed answers COMMIT with ROLLBACK, and that is no error.
    if (command !== 'COMMIT') throw new Error(`COMMIT was answered with ${command}`);
    return result;
  } catch (thrown) {
    const isOver = thrown instanceof AppError && thrown.code === 'unavailable';
    if (!isOver) await client.query('ROLLBACK').catch(rethrow);
    throw thrown;
  }
}

function rethrow(thrown: unknown): never {
  throw postgresFault(thrown);
}

/** Each statement is parsed once per connection, under a name. */
const named = new Map<string, { name: string; text: string }>();

class PostgresQuery implements Query {
  readonly dialect = 'postgres';
  readonly #client: pg.ClientBase;
  readonly #isReading: boolean;

  constructor(client: pg.ClientBase, isReading: boolean) {
    this.#client = client;
    this.#isReading = isReading;
  }

  async rows(sql: string, ...values: Value[]): Promise<Row[]> {
    return (await this.#run(sql, values)).rows;
  }

  async change(sql: string, ...values: Value[]): Promise<number> {
    return (await this.#run(sql, values)).rowCount ?? 0;
  }

  async announce(event: StoreEvent): Promise<void> {
    await this.rows("SELECT pg_notify('luks_key_server', ?1)", JSON.stringify(event));
  }

  async #run(sql: string, values: Value[]): Promise<pg.QueryResult> {
    const wanted = this.#isReading ? sql.replace(ROW_LOCK, '') : sql;
    let statement = named.get(wanted);
    if (statement === undefined) {
      statement = { name: `s${named.size}`, text: wanted.replaceAll('?', '$') };
      named.set(wanted, statement);
    }
    return await this.#client.query({ ...statement, values }).catch(rethrow);
  }
}

/** A commit that is on no disk, or on a copy that another server may not know, would be an answer without a record. */
async function refuseUnsafe(client: pg.ClientBase): Promise<void> {
  const sql =
    "SELECT pg_is_in_recovery() AS replica, current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit";
  const { rows } = await client
    .query<{ replica: boolean; fsync: string; commit: string }>(sql)
    .catch(rethrow);
  const [found] = rows;
  if (found?.replica !== false) throw unsafe('it is a read replica', 'name the primary server');
  if (found.fsync !== 'on') throw unsafe('fsync is off', 'set fsync = on in postgresql.conf');
  if (found.commit !== 'on') throw unsafe(`synchronous_commit is ${found.commit}`, 'take it out of the url');
}
