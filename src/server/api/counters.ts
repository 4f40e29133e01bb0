import { type RefusalCode, refusalCodes } from '../../wire/refusal.ts';

/** What this process has done since its start. */
export interface Counters {
  /** Exchanges that were granted, whether the answer arrived or not. */
  releases: number;
  /** With proof or without. */
  keepalives: number;
  readonly refusals: Record<RefusalCode, number>;
  /** Looks after lease clock and audit heads. */
  heartbeats: number;
  failedHeartbeats: number;
}

export function noCounts(): Counters {
  const refusals = Object.fromEntries(refusalCodes.map((code) => [code, 0])) as Counters['refusals'];
  return { releases: 0, keepalives: 0, refusals, heartbeats: 0, failedHeartbeats: 0 };
}
