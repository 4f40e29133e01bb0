import { AppError } from '../base/errors.ts';
import type { ServeOptions } from '../cli/server/world.ts';
import { clock } from '../os/clock.ts';
import { durableFiles } from '../os/durable-files.ts';
import { files } from '../os/files.ts';
import { locksIn } from '../os/locks.ts';
import { random } from '../os/random.ts';
import { revoked } from '../server/machine/operator.ts';
import type { MachineState } from '../server/machine/state.ts';
import type { StoreOptions } from '../server/store/open.ts';
import type { MasterKeys } from './master-keys.ts';

/** @throws AppError `bad-config` */
export async function storeOptions(
  { state, store }: ServeOptions,
  { all }: MasterKeys,
  signal: AbortSignal,
): Promise<StoreOptions> {
  return {
    location: await locationOf(store),
    tombstones: `${state}/tombstones`,
    masterKeys: all,
    asRevoked: (before) => ({ ...revoked(before as unknown as MachineState) }),
    clock,
    wallMs: Date.now,
    random,
    files: durableFiles,
    locks: locksIn(state),
    signal,
  };
}

/** A postgres:// URL has a password in it, which has no place in an argument: `file:PATH` says where it is. */
async function locationOf(store: string): Promise<string> {
  if (!store.startsWith('file:')) return store;
  const path = store.slice('file:'.length);
  const text = await files.read(path, 4096);
  if (text === null) throw new AppError('bad-config', `${path}: no such file`);
  return text.toString().trim();
}
