import type { Clock, DurableFiles, Locks, Random } from '../../base/ports.ts';
import type { Now } from '../audit/record.ts';
import type { MasterKey } from '../master/master-key.ts';
import { startChain } from './audit-rows.ts';
import type { Database, Query, StoreEvent } from './database.ts';
import { Keyring } from './keyring.ts';
import { LeaseClock } from './lease-clock.ts';
import { PostgresDatabase } from './postgres.ts';
import { type AsRevoked, reconcile } from './revocation.ts';
import { lockSchema, migrate } from './schema.ts';
import { openSqlite } from './sqlite-file.ts';
import type { Reader, Store, Transaction } from './store.ts';
import { Tombstones } from './tombstones.ts';
import { TableTransaction } from './transaction.ts';

export interface StoreOptions {
  /** `postgres://…`, or the path of an SQLite file, which is made where there is none. */
  readonly location: string;
  /** File of this process's own, outside the database. */
  readonly tombstones: string;
  /** The present master key first, then others that rows may be sealed under. */
  readonly masterKeys: readonly MasterKey[];
  readonly asRevoked: AsRevoked;
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  readonly random: Random;
  readonly files: DurableFiles;
  /** Keeps a second process off an SQLite file. */
  readonly locks: Locks;
  readonly signal: AbortSignal;
}

/**
 * Opens the store, which then is of this program's schema, knows its master key, and revokes whom the tombstones name.
 * @throws AppError `bad-config` (newer schema, another master key, a read replica, fsync off), `damaged`,
 *   `unavailable`, `stopped`
 */
export async function openStore(options: StoreOptions): Promise<DatabaseStore> {
  const tombstones = new Tombstones(options.tombstones, options.files);
  const database = await openDatabase(options);
  try {
    await migrate(database);
    const keyring = new Keyring(options.masterKeys);
    await database.transaction(async (query) => {
      await lockSchema(query);
      await keyring.load(query, options.random.bytes(16).toString('hex'));
      await startChain(query);
    });
    const store = new DatabaseStore(database, keyring, tombstones, options);
    await store.start();
    return store;
  } catch (thrown) {
    await database.close();
    throw thrown;
  }
}

async function openDatabase(options: StoreOptions): Promise<Database> {
  const { location, clock, files, locks, signal } = options;
  if (/^postgres(ql)?:/.test(location)) return new PostgresDatabase(location, clock);
  return await openSqlite(location, files, locks, signal);
}

/** Tables, keys, tombstones and lease clock of one database. */
export class DatabaseStore implements Store {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly #tombstones: Tombstones;
  readonly #asRevoked: AsRevoked;
  readonly #wallMs: () => number;
  readonly #leaseClock: LeaseClock;
  readonly #listeners = new Set<(event: StoreEvent) => void>();
  #scrubIsDue = false;
  #agreeing: Promise<void> = Promise.resolve();

  constructor(database: Database, keyring: Keyring, tombstones: Tombstones, options: StoreOptions) {
    this.database = database;
    this.keyring = keyring;
    this.#tombstones = tombstones;
    this.#asRevoked = options.asRevoked;
    this.#wallMs = options.wallMs;
    this.#leaseClock = new LeaseClock(database, () => options.clock.nowMs());
  }

  async start(): Promise<void> {
    await this.#leaseClock.start();
    await this.database.transaction((query) => this.#reconcile(query));
    this.database.beforeUse((query) => this.#reconcile(query));
    this.database.subscribe((event) => this.#heard(event));
    this.#scrub();
  }

  async transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    let destroyed = false;
    const result = await this.database.transaction(async (query) => {
      const transaction = this.#over(query);
      const value = await work(transaction);
      await transaction.finish();
      destroyed = transaction.destroyed;
      return value;
    });
    if (destroyed) this.scrubSoon();
    return result;
  }

  async snapshot<T>(work: (reader: Reader) => Promise<T>): Promise<T> {
    return await this.database.snapshot((query) => work(this.#over(query)));
  }

  now(): Now {
    return { leaseMs: this.#leaseClock.nowMs(), wallMs: this.#wallMs() };
  }

  async tick(): Promise<void> {
    await this.#leaseClock.tick();
    await this.database.transaction((query) => this.#reconcile(query));
    this.#scrub();
  }

  subscribe(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    await this.#agreeing;
    await this.database.close();
  }

  #over(query: Query): TableTransaction {
    return new TableTransaction(query, this.keyring, this.#tombstones, () => this.now());
  }

  async #reconcile(query: Query): Promise<void> {
    const destroyed = await reconcile(query, this.keyring, this.#tombstones, this.#asRevoked, this.now());
    if (destroyed) this.#scrubIsDue = true;
  }

  /** What another process revoked goes into this one's tombstones at once; if that fails, the next tick does it. */
  #heard(event: StoreEvent): void {
    if (event.kind !== 'changed') {
      this.#agreeing = this.#agreeing
        .then(() => this.database.transaction((query) => this.#reconcile(query)))
        .catch(() => {});
    }
    for (const listener of this.#listeners) listener(event);
  }

  /** For a restore: nobody else has a turn before it is done, and tombstones have the last word. */
  async alone(work: (query: Query) => Promise<void>): Promise<void> {
    await this.database.transaction(async (query) => {
      await work(query);
      await this.#reconcile(query);
    });
    await this.tick();
  }

  /** What was overwritten or deleted is to be gone for good: at once, or with a tick when a reader has gone. */
  scrubSoon(): void {
    this.#scrubIsDue = true;
    try {
      this.#scrub();
    } catch {
      // The commit stands, whatever is wrong now: the tick says it.
    }
  }

  #scrub(): void {
    if (this.#scrubIsDue) this.#scrubIsDue = !this.database.scrub();
  }
}
