import { type AuditEntry, type Now, recordText } from '../audit/record.ts';
import type { MachineState } from '../machine/state.ts';
import { appendRecords } from './audit-rows.ts';
import { type Query, textOf } from './database.ts';
import { dropInvitations } from './invitations.ts';
import type { Keyring } from './keyring.ts';
import { findMachine, updateMachine } from './machines.ts';
import type { Machine } from './store.ts';
import type { Tombstones } from './tombstones.ts';

/** What the state machine makes of a machine's state when it is revoked. */
export type AsRevoked = (state: MachineState) => MachineState;

/**
 * Revokes a machine for ever. The tombstone comes first: if the commit fails after it, the machine is revoked at the
 * next start, which is what was asked for.
 */
export async function revokeMachine(
  query: Query,
  keyring: Keyring,
  tombstones: Tombstones,
  machine: Machine,
): Promise<void> {
  tombstones.add([machine]);
  await updateMachine(query, keyring, { ...machine, revoked: true });
  await query.change('DELETE FROM exchange_keys WHERE machine = ?1', machine.id);
  await dropInvitations(query, machine.name);
  await query.announce({ kind: 'revoked', machine: machine.id });
}

/**
 * Makes database and tombstones agree: each revokes what the other knows to be revoked.
 * @returns whether exchange keys were destroyed
 */
export async function reconcile(
  query: Query,
  keyring: Keyring,
  tombstones: Tombstones,
  asRevoked: AsRevoked,
  now: Now,
): Promise<boolean> {
  const rows = await query.rows('SELECT id, name FROM machines WHERE revoked = 1');
  const inDatabase = new Set(rows.map((row) => textOf(row, 'id')));
  tombstones.add(rows.map((row) => ({ id: textOf(row, 'id'), name: textOf(row, 'name') })));
  const records: AuditEntry[] = [];
  for (const id of tombstones.machines) {
    if (inDatabase.has(id)) continue;
    const machine = await findMachine(query, keyring, 'id', id);
    if (machine === null || machine.revoked) continue;
    await revokeMachine(query, keyring, tombstones, { ...machine, state: asRevoked(machine.state) });
    records.push({ who: 'server', what: 'revoke', outcome: 'tombstone', machine: machine.name });
  }
  await appendRecords(
    query,
    records.map((entry) => recordText(entry, now)),
  );
  return records.length > 0;
}
