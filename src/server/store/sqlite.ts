import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { AppError } from '../../base/errors.ts';
import { serverLimits } from '../../base/server-limits.ts';
import { afterThisTurn } from '../../base/turn.ts';
import {
  type Database,
  type Query,
  ROW_LOCK,
  type Row,
  type StoreEvent,
  type Value,
  type Work,
} from './database.ts';
import { damagedFile, sqliteFault } from './sqlite-faults.ts';

/** A transaction that waits for its commit. `run` does its work; then one of the two says how it ended. */
interface Job {
  run(query: SqliteQuery): Promise<void>;
  confirm(): void;
  refuse(reason: unknown): void;
  readonly events: StoreEvent[];
}

/**
 * WAL with a full sync: a commit is on the disk. What is deleted is overwritten. A cache of 32 MiB holds most of what
 * 100,000 machines need (sqlite.org/pragma.html).
 */
const SETTINGS = `PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
  PRAGMA cache_size = -32768`;

/**
 * One file, one connection that writes. Transactions that come in during one turn of the event loop share a commit,
 * each in a savepoint of its own: a full sync for each would allow a twentieth of them.
 */
export class SqliteDatabase implements Database {
  readonly #path: string;
  readonly #connection: DatabaseSync;
  readonly #query: SqliteQuery;
  readonly #lock: Disposable | undefined;
  readonly #listeners: ((event: StoreEvent) => void)[] = [];
  #waiting: Job[] = [];
  #draining: Promise<void> | null = null;
  #closed = false;

  /**
   * @param path of a file that is there: an empty one is a database without tables
   * @param lock to be let go of at the end
   */
  constructor(path: string, lock?: Disposable) {
    this.#path = path;
    this.#lock = lock;
    this.#connection = connect(path, false);
    this.#query = new SqliteQuery(this.#connection);
  }

  /** Reads all of it, in 0.1 s for 100,000 machines. @throws AppError `damaged` */
  check(): void {
    const rows = this.#attempt(() => this.#connection.prepare('PRAGMA quick_check(1)').all());
    const found = String(rows[0]?.['quick_check']);
    if (found !== 'ok') throw damagedFile(this.#path, found);
  }

  transaction<T>(work: Work<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new AppError('unavailable', 'database: closed'));
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    let result: T;
    const events: StoreEvent[] = [];
    this.#waiting.push({
      async run(query) {
        result = await work(query.for(events));
      },
      confirm: () => resolve(result),
      refuse: reject,
      events,
    });
    this.#draining ??= this.#drain();
    return promise;
  }

  async snapshot<T>(work: Work<T>): Promise<T> {
    const connection = connect(this.#path, true);
    try {
      connection.exec('BEGIN');
      return await work(new SqliteQuery(connection));
    } catch (thrown) {
      throw sqliteFault(this.#path, thrown);
    } finally {
      connection.close();
    }
  }

  /**
   * secure_delete has overwritten the pages; the log may still hold what they were. A snapshot that is being read is not
   * waited for: nobody would be served meanwhile.
   */
  scrub(): boolean {
    if (this.#connection.isTransaction) return false;
    return this.#attempt(() => {
      this.#connection.exec('PRAGMA busy_timeout = 0');
      try {
        return this.#connection.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.['busy'] === 0;
      } finally {
        this.#connection.exec(`PRAGMA busy_timeout = ${serverLimits.lockWaitMs}`);
      }
    });
  }

  beforeUse(): void {}

  subscribe(listener: (event: StoreEvent) => void): void {
    this.#listeners.push(listener);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#draining;
    this.#connection.close();
    this.#lock?.[Symbol.dispose]();
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      // One turn of the event loop, in which others may come to share the commit.
      await afterThisTurn();
      await this.#commit(this.#waiting.splice(0, serverLimits.transactionsPerCommit));
    }
    this.#draining = null;
  }

  async #commit(jobs: readonly Job[]): Promise<void> {
    const done: Job[] = [];
    this.#rollBack();
    try {
      await this.#query.change('BEGIN IMMEDIATE');
      for (const job of jobs) if (await this.#ran(job)) done.push(job);
      await this.#query.change('COMMIT');
    } catch (thrown) {
      this.#rollBack();
      // Those that were refused already do not hear of it.
      for (const job of jobs) job.refuse(sqliteFault(this.#path, thrown));
      return;
    }
    for (const job of done) {
      job.confirm();
      for (const event of job.events) {
        for (const listener of this.#listeners) queueMicrotask(() => listener(event));
      }
    }
  }

  /** On a disk that fails this may fail too: then it is done before the next commit. */
  #rollBack(): void {
    if (!this.#connection.isTransaction) return;
    try {
      this.#connection.exec('ROLLBACK');
    } catch {
      // Whatever is wrong, the next BEGIN says it.
    }
  }

  /** @throws when nothing of the shared commit can be saved */
  async #ran(job: Job): Promise<boolean> {
    await this.#query.change('SAVEPOINT job');
    try {
      await job.run(this.#query);
      await this.#query.change('RELEASE job');
      return true;
    } catch (thrown) {
      // A full disk makes SQLite roll back by itself (sqlite.org/lang_transaction.html).
      if (!this.#connection.isTransaction) throw thrown;
      await this.#query.change('ROLLBACK TO job');
      await this.#query.change('RELEASE job');
      job.refuse(sqliteFault(this.#path, thrown));
      return false;
    }
  }

  #attempt<T>(work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      throw sqliteFault(this.#path, thrown);
    }
  }
}

function connect(path: string, readOnly: boolean): DatabaseSync {
  let connection: DatabaseSync | undefined;
  try {
    connection = new DatabaseSync(path, { readOnly, timeout: serverLimits.lockWaitMs });
    if (!readOnly) connection.exec(SETTINGS);
    return connection;
  } catch (thrown) {
    connection?.close();
    throw sqliteFault(path, thrown);
  }
}

/** Statements are prepared once per connection. */
class SqliteQuery implements Query {
  readonly dialect = 'sqlite';
  readonly #connection: DatabaseSync;
  readonly #statements: Map<string, StatementSync>;
  readonly #events: StoreEvent[];

  constructor(
    connection: DatabaseSync,
    statements = new Map<string, StatementSync>(),
    events: StoreEvent[] = [],
  ) {
    this.#connection = connection;
    this.#statements = statements;
    this.#events = events;
  }

  for(events: StoreEvent[]): SqliteQuery {
    return new SqliteQuery(this.#connection, this.#statements, events);
  }

  async rows(sql: string, ...values: Value[]): Promise<Row[]> {
    return this.#prepared(sql).all(...values);
  }

  async change(sql: string, ...values: Value[]): Promise<number> {
    return Number(this.#prepared(sql).run(...values).changes);
  }

  async announce(event: StoreEvent): Promise<void> {
    this.#events.push(event);
  }

  #prepared(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#connection.prepare(sql.replace(ROW_LOCK, ''));
    this.#statements.set(sql, statement);
    return statement;
  }
}
