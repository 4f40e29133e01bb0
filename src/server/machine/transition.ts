import type { Now } from '../audit/record.ts';
import { isAllowedFrom } from './address.ts';
import { claim } from './claim.ts';
import { type Event, type MachineEvent, type Outcome, refused } from './event.ts';
import { announce, keepalive } from './keepalive.ts';
import { advertise, deleteKey, register } from './keys.ts';
import { operator } from './operator.ts';
import { doubted, recover } from './recover.ts';
import { type MachineState, statusAt } from './state.ts';
import { toldOnce } from './told.ts';

type Asking = Exclude<MachineEvent, { type: 'claim' }>;

/**
 * What an event makes of a machine (docs/PROTOCOL.md). Decisions are made by the lease clock alone; wall time is kept
 * to be shown.
 * @throws AppError `refused`, `usage` for what an operator cannot ask in this state
 */
export function transition(state: MachineState, event: Event, now: Now): Outcome {
  if (!('from' in event)) return operator(state, event, now);
  if (event.type === 'claim') return claim(state, now);
  return toldOnce(machine(state, event, now), event, now);
}

function machine(state: MachineState, event: Asking, now: Now): Outcome {
  // Keep-alives come all the time: that one is refused is told once, when the status changes.
  const alerts = event.type === 'keepalive' ? [] : (['refused'] as const);
  if (state.status === 'revoked') return refused(state, 'revoked', ...alerts);
  if (!isAllowedFrom(event.from, state.policy.allowedFrom)) return fromElsewhere(state, event, now);
  const seen = { ...state, seen: { leaseMs: now.leaseMs, wallMs: now.wallMs, from: event.from } };
  switch (event.type) {
    case 'recover':
      return recover(seen, event, now);
    case 'keepalive':
      return keepalive(seen, event, now);
    case 'register':
      return register(seen, event, now);
    case 'delete-key':
      return deleteKey(seen, now);
    case 'advertise':
      return advertise(seen, now);
    case 'announce':
      return announce(seen, event, now);
    case 'stray':
      return refused(seen, 'unknown', 'refused');
  }
}

/** A machine that was carried away and runs on is told that it is locked wherever it is, so that it can act on that. */
function fromElsewhere(state: MachineState, event: MachineEvent, now: Now): Outcome {
  if (event.type === 'keepalive') {
    return refused(state, statusAt(state, now.leaseMs) === 'locked' ? 'locked' : 'not-allowed-from');
  }
  // Through the Tang face anybody may ask from anywhere: that says nothing about the machine.
  const isItself = event.type === 'recover' && event.boot !== null;
  return refused(isItself ? doubted(state, event, now) : state, 'not-allowed-from', 'refused');
}
