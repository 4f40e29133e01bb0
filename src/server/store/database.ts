import { AppError } from '../../base/errors.ts';

/** What both databases keep alike: text, whole numbers, bytes, nothing. */
export type Value = string | number | Uint8Array | null;
export type Row = Readonly<Record<string, unknown>>;

/** What is told to every process that serves from the same database once a transaction is committed. */
export interface StoreEvent {
  /** `changed`: a machine's state; `revoked`: for ever; `resync`: events may have been missed, look again. */
  readonly kind: 'changed' | 'revoked' | 'resync';
  /** The machine's id; empty for `resync`. */
  readonly machine: string;
}

/**
 * Statements within one transaction. The SQL is what SQLite and PostgreSQL have in common, with `?1`, `?2` for
 * values; `FOR UPDATE` and `FOR SHARE` at its end mean nothing to SQLite, which has one writer at a time.
 */
export interface Query {
  /** For the few places where they have nothing in common. */
  readonly dialect: 'sqlite' | 'postgres';
  rows(sql: string, ...values: Value[]): Promise<Row[]>;
  /** @returns how many rows it changed */
  change(sql: string, ...values: Value[]): Promise<number>;
  announce(event: StoreEvent): Promise<void>;
}

/** What locks the rows that a statement reads. */
export const ROW_LOCK = / FOR (UPDATE|SHARE)$/;

export type Work<T> = (query: Query) => Promise<T>;

/**
 * A database that commits to the disk before it says so.
 * Each method throws AppError: `unavailable` (no room, no connection, locked for too long: nothing was changed, or
 * for a connection that broke during the commit, nothing was confirmed), `damaged`, `bad-config`.
 */
export interface Database {
  /** What `work` throws rolls everything back. It may run together with others in one commit: it must wait for nothing else. */
  transaction<T>(work: Work<T>): Promise<T>;
  /** Reads one state of everything, without holding anybody up: `FOR UPDATE` means nothing in it. */
  snapshot<T>(work: Work<T>): Promise<T>;
  /** Overwrites what was deleted, as far as this database can. Never waits. @returns false when it has to be tried again */
  scrub(): boolean;
  /** Is run on each new connection before any transaction. */
  beforeUse(work: Work<void>): void;
  subscribe(listener: (event: StoreEvent) => void): void;
  close(): Promise<void>;
}

export function textOf(row: Row, column: string): string {
  const value = row[column];
  return typeof value === 'string' ? value : wrong(column, value);
}

export function numberOf(row: Row, column: string): number {
  const value = row[column];
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : wrong(column, value);
}

export function bytesOf(row: Row, column: string): Buffer {
  const value = row[column];
  if (!(value instanceof Uint8Array)) return wrong(column, value);
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

/** What `read` makes of the column, or null where it is empty. */
export function orNull<T>(row: Row, column: string, read: (row: Row, column: string) => T): T | null {
  return row[column] === null ? null : read(row, column);
}

function wrong(column: string, value: unknown): never {
  throw new AppError(
    'damaged',
    `database: column ${column}: unexpected ${value === null ? 'null' : typeof value}`,
    {
      hint: 'restore the last backup',
    },
  );
}
