import { randomBytes } from 'node:crypto';

/** One thing that happened, as it is to be recorded. */
export interface AuditEntry {
  /** Who did it, or asked for it: `operator`, `machine`, `server`, `stranger`. */
  readonly who: string;
  /** What was asked for: `recover`, `join`, `revoke` and so on. */
  readonly what: string;
  /** How it ended: `done`, `released`, or why not. */
  readonly outcome: string;
  /** The machine's name. */
  readonly machine?: string | undefined;
  /** The exchange key's id. */
  readonly key?: string | undefined;
  /** Address that it came from. */
  readonly from?: string | undefined;
  readonly requestId?: string | undefined;
  /** What else belongs to it; a machine's own words are claims. */
  readonly details?: Readonly<Record<string, string | number | boolean>> | undefined;
}

/** When something happens: the lease clock decides, wall time is only shown and recorded. Milliseconds both. */
export interface Now {
  readonly leaseMs: number;
  /** Since 1970 (UTC). */
  readonly wallMs: number;
}

/**
 * The record's text: one line of JSON, kept and hashed as it stands.
 * Salted, so that a machine that is shown its digest does not find out by trying what it says.
 */
export function recordText(entry: AuditEntry, now: Now): string {
  return JSON.stringify({
    when: new Date(now.wallMs).toISOString(),
    'lease-ms': now.leaseMs,
    who: entry.who,
    what: entry.what,
    outcome: entry.outcome,
    machine: entry.machine,
    key: entry.key,
    from: entry.from,
    'request-id': entry.requestId,
    details: entry.details,
    salt: randomBytes(16).toString('base64url'),
  });
}
