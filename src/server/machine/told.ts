import type { Now } from '../audit/record.ts';
import type { AlertKind, MachineEvent, Outcome, Refusal } from './event.ts';
import { TOLD_AGAIN_MS, TOLD_AT_MOST } from './policy.ts';

/** A refused handler asks again every few seconds, a thief as often as he can: nobody has to be told each time. */
export function toldOnce(outcome: Outcome, event: MachineEvent, now: Now): Outcome {
  const { state, refusal, alerts } = outcome;
  if (refusal === null || !alerts.some(isOfRefusal)) return outcome;
  const what = nameOf(event, refusal);
  const told = state.told.filter(({ atMs }) => now.leaseMs < atMs + TOLD_AGAIN_MS);
  if (told.length >= TOLD_AT_MOST || told.some((one) => one.what === what)) {
    return { ...outcome, alerts: alerts.filter((kind) => !isOfRefusal(kind)) };
  }
  return { ...outcome, state: { ...state, told: [...told, { what, atMs: now.leaseMs }] } };
}

function isOfRefusal(kind: AlertKind): boolean {
  return kind === 'refused' || kind === 'approval-pending';
}

/** The same refusal to the same address; but each request that waits for an approval is another one. */
function nameOf(event: MachineEvent, refusal: Refusal): string {
  if (refusal === 'approval-pending' && event.type === 'recover') return event.requestId;
  return `${refusal} ${event.from}`;
}
