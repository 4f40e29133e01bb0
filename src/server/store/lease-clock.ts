import { serverLimits } from '../../base/server-limits.ts';
import { type Database, numberOf, type Query } from './database.ts';

/**
 * A persisted count of milliseconds that goes on while a server serves and its database answers. Wall time has no
 * part in it, so that a stepped clock or a downtime ends no lease.
 */
export class LeaseClock {
  readonly #database: Database;
  readonly #monotonicMs: () => number;
  /** Lease and monotonic time of the last tick. */
  #leaseMs = 0;
  #tickedMs = 0;
  #latestMs = 0;

  constructor(database: Database, monotonicMs: () => number) {
    this.#database = database;
    this.#monotonicMs = monotonicMs;
  }

  /** Never goes back within this process, and no further than one tick beyond what is kept. */
  nowMs(): number {
    const sinceTick = Math.min(this.#monotonicMs() - this.#tickedMs, serverLimits.leaseTickMs);
    this.#latestMs = Math.max(this.#latestMs, Math.floor(this.#leaseMs + sinceTick));
    return this.#latestMs;
  }

  /** Begins where the last process stopped: time in which nobody served does not count. */
  async start(): Promise<void> {
    this.#tickedMs = this.#monotonicMs();
    await this.tick();
  }

  async tick(): Promise<void> {
    const nowMs = this.#monotonicMs();
    const leaseMs = await this.#database.transaction((query) => this.#advance(query, nowMs - this.#tickedMs));
    this.#leaseMs = leaseMs;
    this.#tickedMs = nowMs;
  }

  /**
   * With several processes each adds what passed since any of them ticked, by the database's clock, and never more
   * than what passed by its own since it ticked itself: a stepped clock of the database's host adds nothing.
   */
  async #advance(query: Query, ownMs: number): Promise<number> {
    const [row = {}] = await query.rows('SELECT lease_ms, ticked_ms FROM store FOR UPDATE');
    const databaseMs = await databaseTimeMs(query);
    const sinceAnyMs = databaseMs === null ? ownMs : databaseMs - numberOf(row, 'ticked_ms');
    const passedMs = Math.floor(Math.max(0, Math.min(ownMs, sinceAnyMs, serverLimits.leaseTickMs)));
    const leaseMs = numberOf(row, 'lease_ms') + passedMs;
    await query.change('UPDATE store SET lease_ms = ?1, ticked_ms = ?2', leaseMs, databaseMs ?? 0);
    return leaseMs;
  }
}

/** Milliseconds by the database server's clock; null when there is none but ours. */
async function databaseTimeMs(query: Query): Promise<number | null> {
  if (query.dialect === 'sqlite') return null;
  const [row = {}] = await query.rows('SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms');
  return numberOf(row, 'ms');
}
