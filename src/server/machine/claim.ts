import type { Now } from '../audit/record.ts';
import { done, type Outcome, refused } from './event.ts';
import { CLAIMS_PER_HOUR, HOUR_MS } from './policy.ts';
import type { MachineState } from './state.ts';

/**
 * What a machine says of itself is recorded and told to people, so it says so much and no more. A revoked one too, and
 * from wherever it is: what it did about that is worth hearing.
 */
export function claim(state: MachineState, now: Now): Outcome {
  const { claims } = state;
  const isRevoked = state.status === 'revoked';
  const goesOn = claims !== null && (isRevoked || now.leaseMs < claims.sinceMs + HOUR_MS);
  const current = goesOn ? claims : { sinceMs: now.leaseMs, count: 0 };
  if (current.count >= CLAIMS_PER_HOUR) return refused(state, isRevoked ? 'revoked' : 'count-used');
  return done({ ...state, claims: { ...current, count: current.count + 1 } });
}
