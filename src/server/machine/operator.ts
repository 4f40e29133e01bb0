import { AppError } from '../../base/errors.ts';
import type { Now } from '../audit/record.ts';
import { done, type OperatorEvent, type Outcome } from './event.ts';
import type { Policy } from './policy.ts';
import { type LockCause, type MachineState, statusAt, waiting } from './state.ts';

/** @throws AppError `refused` for what cannot be done in this state */
export function operator(state: MachineState, event: OperatorEvent, now: Now): Outcome {
  if (state.status === 'revoked' && event.type !== 'revoke' && event.type !== 'restore') {
    throw new AppError('refused', 'this machine is revoked, for ever', {
      hint: 'invite it under a new name',
    });
  }
  switch (event.type) {
    case 'lock':
      return done(locked(state, 'operator'), 'locked');
    case 'allow':
      return done(allowed(state, event.confirmed, now));
    case 'revoke':
      return state.status === 'revoked' ? done(state) : done(revoked(state), 'revoked');
    case 'expect':
      return done(expecting(state, event, now));
    case 'policy':
      return done(ruledBy(state, event.policy, now));
    case 'approve':
    case 'deny':
      return done(decided(state, event.requestId, event.type === 'approve', now));
    case 'rejoin':
      return done(
        { ...locked(state, 'rejoin'), unconfirmed: true, knownBoot: null, session: null, serverKey: null },
        'locked',
      );
    case 'restore':
      return done(state.status === 'revoked' ? state : locked(state, 'restore'));
  }
}

function locked(state: MachineState, cause: LockCause): MachineState {
  return { ...state, status: 'locked', cause, expected: null, pending: [] };
}

/** As after a first keep-alive with proof: a whole lease, and its boots. */
function allowed(state: MachineState, confirmed: boolean, now: Now): MachineState {
  const { leaseMs, bootGraceMs } = state.policy;
  if (state.unconfirmed && !confirmed) {
    throw new AppError('refused', 'this machine has joined with a new key, which nobody has confirmed yet', {
      hint: 'compare the fingerprint with the machine’s own, then: allow NAME --fingerprint FINGERPRINT',
    });
  }
  const runs = leaseMs !== 0 && (state.deadlineMs !== null || Object.keys(state.alive).length > 0);
  return {
    ...state,
    status: 'armed',
    cause: null,
    deadlineMs: runs ? now.leaseMs + Math.max(leaseMs, bootGraceMs) : null,
    session: null,
    bootsWithoutProof: 0,
    askedSince: false,
    unconfirmed: false,
    mayStartOver: state.unconfirmed,
  };
}

/** Nothing is left that a mistake elsewhere could use. */
export function revoked(state: MachineState): MachineState {
  const nothing = { alive: {}, session: null, deadlineMs: null, claims: null };
  return { ...locked(state, 'operator'), ...nothing, status: 'revoked' };
}

function expecting(
  state: MachineState,
  event: Extract<OperatorEvent, { type: 'expect' }>,
  now: Now,
): MachineState {
  if (statusAt(state, now.leaseMs) === 'locked') {
    throw new AppError('refused', 'this machine is locked: what it would boot for is not released', {
      hint: 'allow it first',
    });
  }
  const untilMs = now.leaseMs + event.withinMs;
  return { ...state, expected: { boots: event.boots, untilMs, from: null, announcedIn: null } };
}

/** A shorter lease ends sooner, a longer one is given by the next proof; and none arms a machine whose lease has ended. */
function ruledBy(state: MachineState, policy: Policy, now: Now): MachineState {
  const hasEnded = state.status === 'armed' && statusAt(state, now.leaseMs) === 'locked';
  const kept: MachineState = hasEnded ? { ...state, status: 'locked', cause: 'lease' } : state;
  const { leaseMs, bootGraceMs } = policy;
  if (leaseMs === 0) return { ...kept, policy, deadlineMs: null };
  const latestMs = now.leaseMs + Math.max(leaseMs, bootGraceMs);
  if (kept.deadlineMs !== null) return { ...kept, policy, deadlineMs: Math.min(kept.deadlineMs, latestMs) };
  return { ...kept, policy, deadlineMs: Object.keys(kept.alive).length === 0 ? null : latestMs };
}

/** @throws AppError `usage` when no such request waits, or nobody asks for it any more */
function decided(state: MachineState, id: string, approved: boolean, now: Now): MachineState {
  const still = waiting(state, now.leaseMs);
  if (!still.some((one) => one.id === id)) {
    throw new AppError('usage', `no request ${id} waits for an approval`, {
      hint: 'list shows those that do',
    });
  }
  const pending = still.flatMap((one) => {
    if (one.id !== id) return [one];
    return approved ? [{ ...one, approved }] : [];
  });
  return { ...state, pending };
}

/** Which of these is revoked by a tombstone, whatever a restored or lagging database says of it. @param id the machine's */
export function afterTombstones(
  id: string,
  state: MachineState,
  tombstones: ReadonlySet<string>,
): MachineState {
  return tombstones.has(id) && state.status !== 'revoked' ? revoked(state) : state;
}
