import { AppError } from '../base/errors.ts';
import type { Secret } from '../base/secret.ts';
import type { ServeOptions } from '../cli/server/world.ts';
import { durableFiles } from '../os/durable-files.ts';
import { fileChunks } from '../os/file-chunks.ts';
import { operator } from '../server/machine/operator.ts';
import type { MachineState } from '../server/machine/state.ts';
import { openStore } from '../server/store/open.ts';
import { allMachines } from '../server/store/pages.ts';
import { restoreBackup } from '../server/store/restore.ts';
import { masterKeysFor } from './master-keys.ts';
import { CHAIN } from './own-keys.ts';
import { storeOptions } from './store-options.ts';
import { IDENTITY } from './upkeep.ts';

/**
 * Makes a server of a backup: every machine starts locked.
 * @returns how many machines it has
 * @throws AppError `refused` (something is there already), `damaged`, `bad-config`, `unavailable`
 */
export async function restore(
  options: ServeOptions,
  path: string,
  passphrase: Secret,
  signal: AbortSignal,
): Promise<number> {
  const { state } = options;
  const identityPath = `${state}/${IDENTITY}`;
  if (options.identity === null && durableFiles.size(identityPath) !== null) {
    throw new AppError('refused', `${identityPath}: there is a server here already`, {
      hint: 'restore into an empty folder: --state DIR',
    });
  }
  if (durableFiles.size(path) === null) throw new AppError('usage', `${path}: no such file`);
  durableFiles.makeFolder(state);
  const store = await openStore(await storeOptions(options, await masterKeysFor(state), signal));
  try {
    const now = () => store.now();
    const asLocked = (before: MachineState) => operator(before, { type: 'restore' }, now()).state;
    const files = await restoreBackup(store, fileChunks(path), passphrase, asLocked);
    const identity = files.get(IDENTITY);
    // Given by the configuration, it comes from where the old server's came from.
    if (identity !== undefined && options.identity === null) {
      const chain = files.get(CHAIN);
      if (chain !== undefined) durableFiles.replace(`${state}/${CHAIN}`, chain.reveal());
      durableFiles.replace(identityPath, identity.reveal());
    }
    for (const secret of files.values()) secret.wipe();
    return await store.snapshot(async (reader) => (await Array.fromAsync(allMachines(reader))).length);
  } finally {
    await store.close();
  }
}
