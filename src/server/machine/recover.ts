import type { Now } from '../audit/record.ts';
import { isSameAddress } from './address.ts';
import { done, type MachineEvent, type Outcome, refused } from './event.ts';
import { BOOTS_WITHOUT_PROOF, PENDING_REQUESTS, REPEAT_MS } from './policy.ts';
import {
  extended,
  hasLeaseEnded,
  isAwaited,
  type LockCause,
  type MachineState,
  type PendingRequest,
  statusAt,
  waiting,
} from './state.ts';

type Recover = Extract<MachineEvent, { type: 'recover' }>;

/** A machine that may be heard asks for one of its keys. */
export function recover(state: MachineState, event: Recover, now: Now): Outcome {
  if (statusAt(state, now.leaseMs) === 'locked') return lockedOut(state, state.cause ?? 'lease');
  const counted = event.boot === null ? state : withBoot(state, event.boot, event, now);
  if (typeof counted === 'string') return lockedOut(state, counted);
  const firstMs = counted.session?.released[event.kid];
  const isRepeat = event.boot !== null && firstMs !== undefined;
  if (isRepeat && now.leaseMs >= firstMs + REPEAT_MS) return refused(state, 'count-used', 'refused');
  if (isRepeat) return done(state);
  if (state.policy.approval === 'auto') return done(released(counted, event, now));
  return withApproval(state, counted, event, now);
}

/** Who asks meanwhile may be a thief: a keep-alive that comes late then finds the machine locked. */
function lockedOut(state: MachineState, cause: LockCause): Outcome {
  const alerts = state.status === 'armed' ? (['locked', 'refused'] as const) : (['refused'] as const);
  return refused({ ...state, status: 'locked', cause, askedSince: true }, 'locked', ...alerts);
}

/** Somebody else than the boot that is known wants a key, or anybody while the machine is locked. */
export function doubted(state: MachineState, { boot }: Recover, now: Now): MachineState {
  const isLocked = statusAt(state, now.leaseMs) === 'locked';
  return isLocked || boot !== state.knownBoot ? { ...state, askedSince: true } : state;
}

/** @returns the state with this boot in it; why the machine locks instead when it has had its boots, or its lease */
function withBoot(
  state: MachineState,
  boot: string,
  { from }: Recover,
  now: Now,
): MachineState | 'lease' | 'boots' {
  const { expected } = state;
  // Beyond its lease a machine is armed for what is expected alone: one boot, or as an operator says.
  const isOver = hasLeaseEnded(state, now.leaseMs);
  if (state.session?.boot === boot && !(isOver && expected?.announcedIn !== null)) return state;
  const session = { boot, openedMs: now.leaseMs, released: {} };
  const isExpected =
    expected !== null &&
    isAwaited(state, now.leaseMs) &&
    expected.announcedIn !== boot &&
    (expected.from === null || isSameAddress(expected.from, from));
  if (isExpected) {
    // It is the boot that was to come, after which there is one more.
    const bootsWithoutProof = Math.max(state.bootsWithoutProof, 1);
    return { ...state, session, bootsWithoutProof, expected: { ...expected, boots: expected.boots - 1 } };
  }
  if (isOver) return 'lease';
  const isUsedUp = state.policy.leaseMs !== 0 && state.bootsWithoutProof >= BOOTS_WITHOUT_PROOF;
  return isUsedUp ? 'boots' : { ...state, session, bootsWithoutProof: state.bootsWithoutProof + 1 };
}

function released(state: MachineState, { kid, boot }: Recover, now: Now): MachineState {
  const { session, policy } = state;
  // A Tang client tells no boot: nothing is counted, and nothing extended.
  if (boot === null || session === null) return state;
  const isFirst = Object.keys(session.released).length === 0;
  return {
    ...state,
    knownBoot: boot,
    askedSince: isFirst ? false : state.askedSince,
    // Of a boot's keys only the first gives time, or a machine of many keys could be kept armed one by one.
    deadlineMs: isFirst ? extended(state, now.leaseMs, policy.bootGraceMs) : state.deadlineMs,
    session: { ...session, released: { ...session.released, [kid]: now.leaseMs } },
  };
}

/** An approval is for one request: this key, this boot, this address. It is used up by the release. */
function withApproval(state: MachineState, counted: MachineState, event: Recover, now: Now): Outcome {
  const { kid, boot, from } = event;
  const isThis = (one: PendingRequest) =>
    one.kid === kid && one.boot === boot && isSameAddress(one.from, from);
  const still = waiting(state, now.leaseMs);
  const known = still.find(isThis);
  const others = still.filter((one) => one !== known);
  if (known?.approved) return done({ ...released(counted, event, now), pending: others });
  const lastMs = now.leaseMs;
  const request = known ?? { id: event.requestId, kid, boot, from, sinceMs: now.wallMs, approved: false };
  const pending = [...others, { ...request, lastMs }].slice(-PENDING_REQUESTS);
  const alerts = known === undefined ? (['approval-pending'] as const) : [];
  return refused({ ...doubted(state, event, now), pending }, 'approval-pending', ...alerts);
}
