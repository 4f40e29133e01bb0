/** What an operator decides for a machine. Durations in milliseconds of the lease clock. */
export interface Policy {
  /** How long a machine stays armed after its last keep-alive with the alive proof; 0 = no lease. */
  readonly leaseMs: number;
  /** How long after a release the first keep-alive may come. */
  readonly bootGraceMs: number;
  /** What a keep-alive with proof does that comes after the lease has ended. */
  readonly lateKeepalive: 'rearm' | 'lock';
  /** Whether the machine may announce its own reboot. */
  readonly selfExpect: 'reboot' | 'never';
  /** Whether an operator has to approve each release. */
  readonly approval: 'auto' | 'manual';
  /** CIDRs from which the machine is heard; none = all. */
  readonly allowedFrom: readonly string[];
}

const MINUTE_MS = 60_000;

export const defaultPolicy: Policy = {
  leaseMs: 15 * MINUTE_MS,
  bootGraceMs: 15 * MINUTE_MS,
  lateKeepalive: 'rearm',
  selfExpect: 'reboot',
  approval: 'auto',
  allowedFrom: [],
};

/** Boots that are released after the last keep-alive with proof: the one that began, and one more. */
export const BOOTS_WITHOUT_PROOF = 2;
/** A repeated request within this time is the same one: its answer may have been lost. */
export const REPEAT_MS = 2 * MINUTE_MS;
/** An announced reboot begins no later than this. */
export const LONGEST_ANNOUNCEMENT_MS = 10 * MINUTE_MS;
export const ANNOUNCEMENTS_PER_DAY = 4;
export const DAY_MS = 24 * 60 * MINUTE_MS;
/** Exchange keys of one machine, those deleted softly too: as many keyslots as two volumes have. */
export const KEYS_PER_MACHINE = 64;
/** Requests of one machine that wait for an approval; the oldest make room. */
export const PENDING_REQUESTS = 16;
/** Who has not asked again for so long no longer waits for an approval: a handler asks every few seconds. */
export const STILL_WAITS_MS = 2 * MINUTE_MS;
/** The same refusal to the same address is told once in this time: a handler asks every few seconds. */
export const TOLD_AGAIN_MS = 10 * MINUTE_MS;
/** Refusals that are told in that time, of one machine: who has its identity could ask for ever else. */
export const TOLD_AT_MOST = 16;
/** What a machine may say of itself in an hour; and all in all once it is revoked. */
export const CLAIMS_PER_HOUR = 16;
export const HOUR_MS = 60 * MINUTE_MS;
