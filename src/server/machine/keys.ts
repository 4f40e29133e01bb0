import type { Now } from '../audit/record.ts';
import { done, type MachineEvent, type Outcome, refused } from './event.ts';
import { proven } from './keepalive.ts';
import { KEYS_PER_MACHINE } from './policy.ts';
import { type MachineState, statusAt } from './state.ts';

type Of<T extends MachineEvent['type']> = Extract<MachineEvent, { type: T }>;

/**
 * Who seals a key has it: that is as good as a proof. The first key needs none, as there is nothing yet to prove anything
 * with. Each further one does, or a thief would seal a key of his own, and stay armed by its proof.
 */
export function register(state: MachineState, event: Of<'register'>, now: Now): Outcome {
  if (statusAt(state, now.leaseMs) === 'locked') return refused(state, 'locked');
  const isFree = state.mayStartOver || Object.keys(state.alive).length === 0;
  if (!isFree && !event.proven) return refused(state, 'unknown', 'refused');
  if (event.kept.length >= KEYS_PER_MACHINE) return refused(state, 'count-used', 'refused');
  const known = { ...proven(state, event.boot, now), session: withoutGone(state, event.kept) };
  return done({ ...known, alive: { ...withRoom(state, event.kept), [event.kid]: event.alive } });
}

/**
 * A key that was destroyed leaves its proof, as that may be the one which a running machine has; the oldest of those
 * make room. Never all of them go: who has had a key has to prove one.
 */
function withRoom({ alive }: MachineState, kept: readonly string[]): MachineState['alive'] {
  const gone = Object.keys(alive).filter((kid) => !kept.includes(kid));
  const dropped = gone.slice(0, Math.max(0, Object.keys(alive).length + 1 - KEYS_PER_MACHINE));
  return Object.fromEntries(Object.entries(alive).filter(([kid]) => !dropped.includes(kid)));
}

/** What cannot be asked for any more need not be remembered; but that something was released is. */
function withoutGone({ session }: MachineState, kept: readonly string[]): MachineState['session'] {
  if (session === null) return null;
  const released = Object.entries(session.released).filter(([kid]) => kept.includes(kid));
  return released.length === 0 ? session : { ...session, released: Object.fromEntries(released) };
}

/** No key can be sealed before, and one may be from here on: the lease starts. */
export function advertise(state: MachineState, now: Now): Outcome {
  if (statusAt(state, now.leaseMs) === 'locked') return refused(state, 'locked', 'refused');
  const { leaseMs } = state.policy;
  if (state.deadlineMs !== null || leaseMs === 0) return done(state);
  return done({ ...state, deadlineMs: now.leaseMs + leaseMs });
}

/** Its proof stays good: the volume may still be open by it. */
export function deleteKey(state: MachineState, now: Now): Outcome {
  return statusAt(state, now.leaseMs) === 'locked' ? refused(state, 'locked', 'refused') : done(state);
}
