import { type Policy, STILL_WAITS_MS } from './policy.ts';

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
  /** The boot in which the machine itself announced it; null for an operator. */
  readonly announcedIn: string | null;
}

/** A release that waits for an operator, or has been approved and not yet been asked for again. */
export interface PendingRequest {
  readonly id: string;
  readonly kid: string;
  readonly boot: string | null;
  readonly from: string;
  /** Wall time, milliseconds since 1970 (UTC): only shown. */
  readonly sinceMs: number;
  /** Lease clock, when it was last asked: who stopped asking does not wait any more. */
  readonly lastMs: number;
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
  /** The boot that the server stands behind: that of the last proof, or of the last release that opened one. */
  readonly knownBoot: string | null;
  /** Whether another boot has asked for a release since, or anybody since the lease ended. */
  readonly askedSince: boolean;
  /** It has joined anew, and no operator has named the fingerprint of its key yet. */
  readonly unconfirmed: boolean;
  /** One key may be sealed without a proof: the machine has joined anew, and may have nothing to make one with. */
  readonly mayStartOver: boolean;
  readonly expected: Expected | null;
  /** When the machine announced its last reboots, oldest first. */
  readonly announcedMs: readonly number[];
  readonly pending: readonly PendingRequest[];
  readonly seen: Seen | null;
  /** The newest of the server's own keys that the machine says it takes, `sha256/BASE64URL`; null before it said so. */
  readonly serverKey: string | null;
  /** Refusals that were told of late: what was refused to which address, and when. */
  readonly told: readonly { readonly what: string; readonly atMs: number }[];
  /** What the machine has said of itself since a moment: so many times. */
  readonly claims: { readonly sinceMs: number; readonly count: number } | null;
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
    knownBoot: null,
    askedSince: false,
    unconfirmed: false,
    mayStartOver: false,
    expected: null,
    announcedMs: [],
    pending: [],
    seen: null,
    serverKey: null,
    told: [],
    claims: null,
  };
}

/** The status as it is at `leaseMs`: a lease ends without anybody writing that down, and at its very instant. */
export function statusAt(state: MachineState, leaseMs: number): MachineState['status'] {
  const isOver = hasLeaseEnded(state, leaseMs) && !isAwaited(state, leaseMs);
  return state.status === 'armed' && isOver ? 'locked' : state.status;
}

/** When an armed machine is locked if nothing happens to it; null = never. */
export function armedUntilMs({ status, deadlineMs, expected }: MachineState): number | null {
  if (status !== 'armed' || deadlineMs === null) return null;
  return expected !== null && expected.boots > 0 ? Math.max(deadlineMs, expected.untilMs) : deadlineMs;
}

/** Whether only a boot that is expected keeps the machine armed, if anything does. */
export function hasLeaseEnded({ deadlineMs }: MachineState, leaseMs: number): boolean {
  return deadlineMs !== null && leaseMs >= deadlineMs;
}

/** Whether boots are expected that have not come yet. */
export function isAwaited({ expected }: MachineState, leaseMs: number): boolean {
  return expected !== null && expected.boots > 0 && leaseMs < expected.untilMs;
}

/** Requests that are still asked for. */
export function waiting({ pending }: MachineState, leaseMs: number): readonly PendingRequest[] {
  return pending.filter(({ lastMs }) => leaseMs < lastMs + STILL_WAITS_MS);
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
