import type { Now } from '../audit/record.ts';
import { isAllowedFrom } from './address.ts';
import { type Event, type MachineEvent, type Outcome, refused } from './event.ts';
import { announce, createKey, keepalive, register } from './keepalive.ts';
import { operator } from './operator.ts';
import { recover } from './recover.ts';
import type { MachineState } from './state.ts';

/**
 * What an event makes of a machine (docs/PROTOCOL.md). Decisions are made by the lease clock alone; wall time is kept
 * to be shown.
 * @throws AppError `refused`, `usage` for what an operator cannot ask in this state
 */
export function transition(state: MachineState, event: Event, now: Now): Outcome {
  return 'from' in event ? machine(state, event, now) : operator(state, event, now);
}

function machine(state: MachineState, event: MachineEvent, now: Now): Outcome {
  // Keep-alives come all the time: that one is refused is told once, when the status changes.
  const alerts = event.type === 'keepalive' ? [] : (['refused'] as const);
  if (state.status === 'revoked') return refused(state, 'revoked', ...alerts);
  if (!isAllowedFrom(event.from, state.policy.allowedFrom)) {
    return refused(state, 'not-allowed-from', ...alerts);
  }
  const seen = { ...state, seen: { leaseMs: now.leaseMs, wallMs: now.wallMs, from: event.from } };
  switch (event.type) {
    case 'recover':
      return recover(seen, event, now);
    case 'keepalive':
      return keepalive(seen, event, now);
    case 'register':
      return register(seen, event, now);
    case 'create-key':
      return createKey(seen, now);
    case 'announce':
      return announce(seen, event, now);
  }
}
