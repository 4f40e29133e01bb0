import type { RefusalCode } from '../../wire/refusal.ts';
import type { AuditEntry, Now } from '../audit/record.ts';
import type { AlertKind, Event } from '../machine/event.ts';
import { type MachineState, statusAt } from '../machine/state.ts';
import { transition } from '../machine/transition.ts';
import type { Machine, Transaction } from '../store/store.ts';
import type { App, Caller, MachineCaller } from './app.ts';

/** A request that is not granted. Whoever asked is told the code; the message is for the log. */
export class Refused extends Error {
  readonly code: RefusalCode;

  constructor(code: RefusalCode, reason: string) {
    super(reason);
    this.code = code;
  }
}

/** Its row carries the server's mark, so it is what the server wrote. */
export function stateOf(machine: Machine): MachineState {
  return machine.state as unknown as MachineState;
}

/** What happened to a machine, within the transaction that keeps it. */
export interface Step {
  readonly machine: Machine;
  readonly refusal: RefusalCode | null;
  readonly alerts: readonly AlertKind[];
}

/**
 * Lets an event happen to a machine that was read in this transaction, and keeps what came of it.
 * @param entry its audit record; null for what is none unless it changes the machine's status
 * @throws AppError `refused`, `usage` for what an operator cannot ask in this state
 */
export async function happen(
  transaction: Transaction,
  machine: Machine,
  event: Event,
  now: Now,
  entry: Omit<AuditEntry, 'outcome' | 'machine'> | null,
): Promise<Step> {
  const before = stateOf(machine);
  const { state, refusal, alerts } = transition(before, event, now);
  const changed: Machine = { ...machine, state: state as unknown as Machine['state'] };
  if (state.status === 'revoked' && before.status !== 'revoked') await transaction.revoke(changed);
  else await transaction.saveState(changed);
  const isNews = statusAt(state, now.leaseMs) !== statusAt(before, now.leaseMs);
  if (isNews || state.status !== before.status) await transaction.announce(changed);
  const recorded = entry ?? (alerts.length > 0 ? { who: 'machine', what: event.type } : null);
  if (recorded !== null) {
    const outcome = refusal ?? alerts[0] ?? 'done';
    transaction.record({ ...recorded, machine: machine.name, outcome });
  }
  return { machine: changed, refusal, alerts };
}

/** @field value null when it was refused */
export type Granted<T> = Step & { readonly value: T | null };

/** What no rule of the state machine refuses, or none has anything to say about. */
export function granted<T>(machine: Machine, value: T): Granted<T> {
  return { machine, refusal: null, alerts: [], value };
}

/**
 * Of another machine, deleted, or never there: told alike, and not before it is known that the machine may ask.
 * @param entry its audit record; null for what is none unless somebody is told of it
 */
export async function refuseUnknown(
  transaction: Transaction,
  machine: Machine,
  { from }: Caller,
  now: Now,
  entry: Parameters<typeof happen>[4],
): Promise<Granted<never>> {
  return { ...(await happen(transaction, machine, { type: 'stray', from }, now, entry)), value: null };
}

/**
 * Serves the machine that `caller` is. What `work` did is committed before anything is told or returned.
 * @throws Refused
 */
export async function asMachine<T>(
  app: App,
  caller: MachineCaller,
  work: (transaction: Transaction, machine: Machine) => Promise<Granted<T>>,
): Promise<T> {
  return await asMachineBy('pin', caller.machinePin, app, caller, work);
}

/** The same for one that is known by something else than its key. @throws Refused */
export async function asMachineBy<T>(
  by: 'pin' | 'tang',
  name: string | Uint8Array,
  app: App,
  { from, requestId }: Caller,
  work: (transaction: Transaction, machine: Machine) => Promise<Granted<T>>,
): Promise<T> {
  const result = await app.store.transaction(async (transaction) => {
    const machine = await transaction.machine(by, name);
    return machine === null ? null : work(transaction, machine);
  });
  if (result === null)
    throw new Refused('unknown', `no machine has this ${by === 'pin' ? 'key' : 'address'}`);
  const { machine, refusal, alerts, value } = result;
  for (const kind of alerts) app.alert({ kind, machine: machine.name, from, requestId, text: refusal });
  if (refusal !== null) throw new Refused(refusal, `${machine.name}: ${refusal}`);
  return value as T;
}
