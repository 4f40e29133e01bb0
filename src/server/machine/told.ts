import type { Now } from '../audit/record.ts';
import type { MachineEvent, Outcome } from './event.ts';
import { TOLD_AGAIN_MS } from './policy.ts';

/** A refused handler asks again every few seconds: nobody has to be told each time. */
export function toldOnce(outcome: Outcome, { from }: MachineEvent, now: Now): Outcome {
  const { state, refusal, alerts } = outcome;
  if (refusal === null || !alerts.includes('refused')) return outcome;
  const { told } = state;
  const isSame = told !== null && told.refusal === refusal && told.from === from;
  if (isSame && now.leaseMs < told.atMs + TOLD_AGAIN_MS) {
    return { ...outcome, alerts: alerts.filter((kind) => kind !== 'refused') };
  }
  return { ...outcome, state: { ...state, told: { refusal, from, atMs: now.leaseMs } } };
}
