import pg from 'pg';
import { AppError } from '../../base/errors.ts';

/** SQLSTATE (PostgreSQL, appendix A) of what is worth another try: connection, locks, no room, stopping, read only. */
const PASSING = /^(08|25006|25P0[34]|40|53|55P03|57014|57P0[1235])/;
/** Wrong password, no such database, no right to it: nothing that waiting would change. */
const SETTINGS = /^(28|3D|42501)/;
/** What PostgreSQL finds broken in its own files. */
const BROKEN = /^XX/;

/** The server refuses to be used: said in so many words. */
export function unsafe(what: string, hint: string): AppError {
  return new AppError('bad-config', `PostgreSQL: ${what}`, { hint });
}

/** What the driver threw, in our words. What is not the server's own answer came from the connection. */
export function postgresFault(cause: unknown): unknown {
  if (cause instanceof AppError) return cause;
  if (!(cause instanceof pg.DatabaseError)) {
    const { message, code } = cause as { message?: string; code?: string };
    return new AppError('unavailable', `PostgreSQL: ${message || code || 'not reachable'}`, { cause });
  }
  const code = cause.code ?? '';
  const message = `PostgreSQL: ${cause.message} (${code})`;
  if (BROKEN.test(code)) return new AppError('damaged', message, { hint: 'restore the last backup', cause });
  if (SETTINGS.test(code)) return new AppError('bad-config', message, { cause });
  return PASSING.test(code) ? new AppError('unavailable', message, { cause }) : cause;
}
