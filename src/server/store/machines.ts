import { AppError } from '../../base/errors.ts';
import type { MachineState } from '../machine/state.ts';
import { fields } from '../master/fields.ts';
import { bytesOf, numberOf, orNull, type Query, type Row, textOf } from './database.ts';
import type { Keyring } from './keyring.ts';
import type { Machine, NewMachine } from './store.ts';

const COLUMNS = 'id, name, pin, tang, revoked, state, version, mark';

/** Every row carries a mark under the master key: whoever writes into the database alone cannot arm a machine. */
function markContext(machine: Omit<Machine, 'state'>, state: string): Buffer {
  const { id, name, pin, tang, revoked, version } = machine;
  return fields('machine', id, name, pin ?? '', tang ?? '', revoked ? 1 : 0, version, state);
}

/** A machine's row, read to be changed: nobody else changes it until the transaction ends. */
export async function findMachine(
  query: Query,
  keyring: Keyring,
  by: 'id' | 'name' | 'pin' | 'tang',
  value: string | Uint8Array,
): Promise<Machine | null> {
  const [row] = await query.rows(`SELECT ${COLUMNS} FROM machines WHERE ${by} = ?1 FOR UPDATE`, value);
  return row === undefined ? null : await machineOf(query, keyring, row);
}

/** Machines whose names come after `after`, by name, to look at. */
export async function machinesAfter(
  query: Query,
  keyring: Keyring,
  after: string,
  count: number,
): Promise<Machine[]> {
  const sql = `SELECT ${COLUMNS} FROM machines WHERE name > ?1 ORDER BY name LIMIT ?2`;
  const machines: Machine[] = [];
  for (const row of await query.rows(sql, after, count)) machines.push(await machineOf(query, keyring, row));
  return machines;
}

/** For a rotation: those after `after` that are marked under an older version, locked. */
export async function olderMachines(
  query: Query,
  keyring: Keyring,
  version: number,
  after: string,
  count: number,
): Promise<Machine[]> {
  const sql = `SELECT ${COLUMNS} FROM machines WHERE version < ?1 AND id > ?2 ORDER BY id LIMIT ?3 FOR UPDATE`;
  const machines: Machine[] = [];
  for (const row of await query.rows(sql, version, after, count))
    machines.push(await machineOf(query, keyring, row));
  return machines;
}

/** @throws AppError `damaged` when somebody else wrote it; `bad-config` without the master key */
export async function machineOf(query: Query, keyring: Keyring, row: Row): Promise<Machine> {
  const text = textOf(row, 'state');
  const machine = {
    id: textOf(row, 'id'),
    name: textOf(row, 'name'),
    pin: orNull(row, 'pin', bytesOf),
    tang: orNull(row, 'tang', textOf),
    revoked: numberOf(row, 'revoked') === 1,
    version: numberOf(row, 'version'),
  };
  const key = await keyring.of(query, machine.version);
  if (!key.isMark(bytesOf(row, 'mark'), markContext(machine, text))) {
    throw new AppError('damaged', `machine ${machine.name}: its row is not what this server wrote`, {
      hint: 'somebody changed the database: restore the last backup',
    });
  }
  return { ...machine, state: JSON.parse(text) as MachineState };
}

/** @returns false when its name, key or address belongs to another */
export async function insertMachine(query: Query, keyring: Keyring, added: NewMachine): Promise<boolean> {
  const { version, key } = await keyring.current(query);
  const machine = { pin: null, tang: null, ...added, revoked: false, version };
  const state = JSON.stringify(machine.state);
  const changed = await query.change(
    `INSERT INTO machines (${COLUMNS}) VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7) ON CONFLICT DO NOTHING`,
    machine.id,
    machine.name,
    machine.pin,
    machine.tang,
    state,
    version,
    key.mark(markContext(machine, state)),
  );
  return changed === 1;
}

/**
 * Writes the state of a machine that this transaction has read, under the version that its row has: a rotation under
 * way then finds it, before or after. The other columns stay untouched, since their indexes cost more than the row.
 */
export async function updateState(query: Query, keyring: Keyring, machine: Machine): Promise<void> {
  const state = JSON.stringify(machine.state);
  const key = await keyring.of(query, machine.version);
  const sql = 'UPDATE machines SET state = ?2, mark = ?3 WHERE id = ?1';
  await query.change(sql, machine.id, state, key.mark(markContext(machine, state)));
}

/** Writes all that may change of it. */
export async function updateMachine(query: Query, keyring: Keyring, machine: Machine): Promise<void> {
  await updateState(query, keyring, machine);
  await query.change(
    'UPDATE machines SET pin = ?2, revoked = ?3, version = ?4 WHERE id = ?1',
    machine.id,
    machine.pin,
    machine.revoked ? 1 : 0,
    machine.version,
  );
}
