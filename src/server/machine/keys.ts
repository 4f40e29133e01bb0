import type { Now } from '../audit/record.ts';
import { done, type MachineEvent, type Outcome, refused } from './event.ts';
import { proven } from './keepalive.ts';
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
  const alive = { ...state.alive, [event.kid]: event.alive };
  return done({ ...proven(state, event.boot, now), alive });
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
