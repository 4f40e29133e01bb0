import type { Policy } from './policy.ts';

/** Why a machine is locked: its lease ended, its boots are used up, an operator, a new key, a restored backup. */
export type LockCause = 'lease' | 'boots' | 'operator' | 'rejoin' | 'restore';

/** One span between power on and power off, as the machine tells it by its boot id. */
export interface BootSession {
  readonly boot: string;
  /** When the first of its keys was released: boot-grace counts from here, however many keys follow. */
  readonly openedMs: number;
  /** Exchange keys that were released in it, and when first, on the lease clock. */
  readonly released: Readonly<Record<string, number>>;
}

/** Boots that are not held against the machine. */
export interface Expected {
  readonly boots: number;
  /** Lease clock; at this very instant it is over. */
  readonly untilMs: number;
  /** Where it has to boot from; null = anywhere. */
  readonly from: string | null;
}

/** A release that waits for an operator, or has been approved and not yet been asked for again. */
export interface PendingRequest {
  readonly id: string;
  readonly kid: string;
  readonly boot: string | null;
  readonly from: string;
  /** Wall time, milliseconds since 1970 (UTC): only shown. */
  readonly sinceMs: number;
  readonly approved: boolean;
}

export interface Seen {
  readonly leaseMs: number;
  /** Milliseconds since 1970 (UTC): only shown. */
  readonly wallMs: number;
  readonly from: string;
}

/** All that the server keeps of a machine, as plain JSON. Times are the lease clock's unless said. */
export interface MachineState {
  readonly status: 'armed' | 'locked' | 'revoked';
  readonly cause: LockCause | null;
  readonly policy: Policy;
  /** When the lease ends; null while none runs: no key was sealed yet, or there is no lease. */
  readonly deadlineMs: number | null;
  /** SHA-256 of the alive proof of each exchange key that has one, base64url. */
  readonly alive: Readonly<Record<string, string>>;
  readonly session: BootSession | null;
  /** Boots that were released since the last keep-alive with proof. */
  readonly bootsWithoutProof: number;
  /** In which boot the last proof came. */
  readonly provenBoot: string | null;
  /** Whether anybody asked for a release since the lease ended. */
  readonly askedSince: boolean;
  readonly expected: Expected | null;
  /** When the machine announced its last reboots, oldest first. */
  readonly announcedMs: readonly number[];
  readonly pending: readonly PendingRequest[];
  readonly seen: Seen | null;
}

/** A machine that has just joined: armed, with nothing to lose yet. */
export function joined(policy: Policy): MachineState {
  return {
    status: 'armed',
    cause: null,
    policy,
    deadlineMs: null,
    alive: {},
    session: null,
    bootsWithoutProof: 0,
    provenBoot: null,
    askedSince: false,
    expected: null,
    announcedMs: [],
    pending: [],
    seen: null,
  };
}

/** The status as it is at `leaseMs`: a lease ends without anybody writing that down, and at its very instant. */
export function statusAt(state: MachineState, leaseMs: number): MachineState['status'] {
  const { status, deadlineMs } = state;
  return status === 'armed' && deadlineMs !== null && leaseMs >= deadlineMs ? 'locked' : status;
}

/** How long the lease still runs; null when none does. */
export function leaseLeftMs({ status, deadlineMs }: MachineState, leaseMs: number): number | null {
  if (status !== 'armed' || deadlineMs === null) return null;
  return Math.max(0, deadlineMs - leaseMs);
}

/** `ms` from now, and never earlier than the deadline that is; none where the machine has no lease. */
export function extended(state: MachineState, leaseMs: number, ms: number): number | null {
  if (state.policy.leaseMs === 0 || state.deadlineMs === null) return state.deadlineMs;
  return Math.max(state.deadlineMs, leaseMs + ms);
}
