import { randomBytes } from 'node:crypto';
import { Secret } from '../../../src/base/secret.ts';
import { clock } from '../../../src/os/clock.ts';
import { durableFiles } from '../../../src/os/durable-files.ts';
import { locksIn } from '../../../src/os/locks.ts';
import { random } from '../../../src/os/random.ts';
import type { MachineState } from '../../../src/server/machine/state.ts';
import type { MasterKey } from '../../../src/server/master/master-key.ts';
import type { StoreOptions } from '../../../src/server/store/open.ts';
import { allLinks } from '../../../src/server/store/pages.ts';
import type { Machine, NewMachine, Store, Transaction } from '../../../src/server/store/store.ts';

/** Where one store is, not opened yet. */
export interface Place {
  readonly location: string;
  readonly tombstones: string;
  readonly folder: string;
  readonly masterKey: MasterKey;
}

export function optionsFor(place: Place, changes: Partial<StoreOptions> = {}): StoreOptions {
  return {
    location: place.location,
    tombstones: place.tombstones,
    masterKeys: [place.masterKey],
    asRevoked: (state) => stateFor({ ...state, is: 'revoked' }),
    clock,
    wallMs: () => Date.now(),
    random,
    files: durableFiles,
    locks: locksIn(place.folder),
    signal: new AbortController().signal,
    ...changes,
  };
}

export function newMachine(name: string, changes: Partial<NewMachine> = {}): NewMachine {
  return {
    id: `id-of-${name}`,
    name,
    pin: randomBytes(32),
    tang: null,
    state: stateFor({ is: 'armed', n: 0 }),
    ...changes,
  };
}

export async function machineNamed(transaction: Transaction, name: string): Promise<Machine> {
  const machine = await transaction.machine('name', name);
  if (machine === null) throw new Error(`no machine ${name}`);
  return machine;
}

/** The store looks into no state: a few fields stand for one. */
export interface TestState {
  readonly is: string;
  readonly n?: number;
}

export const stateFor = (fields: TestState) => fields as unknown as MachineState;
const fieldsOf = ({ state }: Machine) => state as unknown as TestState;

export async function stateOf(store: Store, name: string): Promise<TestState> {
  return await store.transaction(async (transaction) => fieldsOf(await machineNamed(transaction, name)));
}

/** Revokes a machine, and writes that down. */
export async function revoke(store: Store, name: string): Promise<void> {
  await store.transaction(async (transaction) => {
    const machine = await machineNamed(transaction, name);
    await transaction.revoke({ ...machine, state: stateFor({ ...fieldsOf(machine), is: 'revoked' }) });
    transaction.record({ who: 'operator', what: 'revoke', outcome: 'done', machine: name });
  });
}

/** One more in the machine's state, and a record of it: what every request does. */
export async function countUp(store: Store, name: string, requestId: string): Promise<number> {
  return await store.transaction(async (transaction) => {
    const machine = await machineNamed(transaction, name);
    const fields = fieldsOf(machine);
    const n = Number(fields.n) + 1;
    await transaction.saveState({ ...machine, state: stateFor({ ...fields, n }) });
    transaction.record({ who: 'machine', what: 'count', outcome: 'done', machine: name, requestId });
    return n;
  });
}

export const newKey = (machine: string, kid: string) => ({
  kid,
  machine,
  curve: 'P-256',
  public: `{"kid":"${kid}"}`,
});
export const secretOf = (text: string) => new Secret(Buffer.from(text));

/** The whole audit log. */
export const auditOf = (store: Store) => store.snapshot((reader) => Array.fromAsync(allLinks(reader)));
