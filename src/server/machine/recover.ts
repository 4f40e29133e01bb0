import type { Now } from '../audit/record.ts';
import { isSameAddress } from './address.ts';
import { done, type MachineEvent, type Outcome, refused } from './event.ts';
import { BOOTS_WITHOUT_PROOF, PENDING_REQUESTS, REPEAT_MS } from './policy.ts';
import { extended, type MachineState, type PendingRequest, statusAt } from './state.ts';

type Recover = Extract<MachineEvent, { type: 'recover' }>;

/** A machine that may be heard asks for one of its keys. */
export function recover(state: MachineState, event: Recover, now: Now): Outcome {
  if (statusAt(state, now.leaseMs) === 'locked') return whileLocked(state);
  const counted = event.boot === null ? state : withBoot(state, event.boot, event, now);
  if (counted === null) {
    return refused(
      { ...state, status: 'locked', cause: 'boots', askedSince: true },
      'locked',
      'locked',
      'refused',
    );
  }
  const firstMs = counted.session?.released[event.kid];
  const isRepeat = event.boot !== null && firstMs !== undefined;
  if (isRepeat && now.leaseMs - firstMs > REPEAT_MS) return refused(state, 'count-used', 'refused');
  if (isRepeat) return done(state);
  if (state.policy.approval === 'auto') return done(released(counted, event, now));
  return withApproval(state, counted, event, now);
}

/** Who asks meanwhile may be a thief: a keep-alive that comes late then finds the machine locked. */
function whileLocked(state: MachineState): Outcome {
  const first = state.status === 'armed';
  const cause = state.cause ?? 'lease';
  return refused(
    { ...state, status: 'locked', cause, askedSince: true },
    'locked',
    ...(first ? (['locked', 'refused'] as const) : (['refused'] as const)),
  );
}

/** @returns the state with this boot in it; null when the machine has had its boots */
function withBoot(state: MachineState, boot: string, { from }: Recover, now: Now): MachineState | null {
  if (state.session?.boot === boot) return state;
  const session = { boot, openedMs: now.leaseMs, released: {} };
  const { expected } = state;
  const isExpected =
    expected !== null &&
    expected.boots > 0 &&
    now.leaseMs < expected.untilMs &&
    (expected.from === null || isSameAddress(expected.from, from));
  if (isExpected) return { ...state, session, expected: { ...expected, boots: expected.boots - 1 } };
  if (state.bootsWithoutProof >= BOOTS_WITHOUT_PROOF) return null;
  return { ...state, session, bootsWithoutProof: state.bootsWithoutProof + 1 };
}

function released(state: MachineState, { kid, boot }: Recover, now: Now): MachineState {
  const { session, policy } = state;
  // A Tang client tells no boot: nothing is counted, and nothing extended.
  if (boot === null || session === null) return state;
  return {
    ...state,
    deadlineMs: extended(state, session.openedMs, policy.bootGraceMs),
    session: { ...session, released: { ...session.released, [kid]: now.leaseMs } },
  };
}

/** An approval is for one request: this key, this boot, this address. It is used up by the release. */
function withApproval(state: MachineState, counted: MachineState, event: Recover, now: Now): Outcome {
  const { kid, boot, from } = event;
  const isThis = (one: PendingRequest) =>
    one.kid === kid && one.boot === boot && isSameAddress(one.from, from);
  const known = state.pending.find(isThis);
  if (known?.approved) {
    const pending = state.pending.filter((one) => one !== known);
    return done({ ...released(counted, event, now), pending });
  }
  if (known !== undefined) return refused(state, 'approval-pending');
  const request = { id: event.requestId, kid, boot, from, sinceMs: now.wallMs, approved: false };
  const pending = [...state.pending, request].slice(-PENDING_REQUESTS);
  return refused({ ...state, pending }, 'approval-pending', 'approval-pending');
}
