import { AppError } from '../base/errors.ts';
import type { Files, MemoryFiles, Runner } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { Keyslots } from '../luks/keyslots.ts';
import { fastKeyslots } from '../status/fast-keyslots.ts';
import type { VolumeFacts } from '../status/volume.ts';
import type { HeaderFacts } from './facts.ts';

export interface HeaderWorld {
  readonly files: Files;
  readonly runner: Runner;
  readonly memoryFiles: MemoryFiles;
}

/** @throws AppError `stopped` */
export async function headerFacts(
  volume: VolumeFacts,
  etc: string,
  world: HeaderWorld,
  signal: AbortSignal,
): Promise<HeaderFacts> {
  const isUnfinished = (await world.files.mode(`${etc}/unfinished/${volume.volume}.json`)) !== null;
  const { device, header } = volume;
  if (device === null || header?.version !== 2) {
    return { volume, emptyPassphraseOpens: null, fastKeyslots: [], isUnfinished };
  }
  return {
    volume,
    emptyPassphraseOpens: await emptyOpens(device, world, signal),
    fastKeyslots: await fastKeyslots(device, header.metadata.activeKeyslots, world.runner, signal),
    isUnfinished,
  };
}

async function emptyOpens(device: string, world: HeaderWorld, signal: AbortSignal): Promise<boolean | null> {
  try {
    using empty = new Secret(Buffer.alloc(0));
    return await new Keyslots(device, world).opens(empty, signal);
  } catch (thrown) {
    if (signal.aborted || !(thrown instanceof AppError)) throw thrown;
    return null;
  }
}
