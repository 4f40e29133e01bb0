import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files, MemoryFiles, Runner } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { Keyslots } from '../luks/keyslots.ts';
import { isObject } from '../luks/metadata.ts';
import type { VolumeFacts } from '../status/volume.ts';
import type { HeaderFacts } from './facts.ts';

export interface HeaderWorld {
  readonly files: Files;
  readonly runner: Runner;
  readonly memoryFiles: MemoryFiles;
}

/** Iterations of `enroll`'s own keyslots: of a passphrase there are a hundred times as many. */
const FAST_ITERATIONS = 1000;

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
    fastKeyslots: await fastKeyslots(device, header.metadata.activeKeyslots, world, signal),
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

async function fastKeyslots(
  device: string,
  active: readonly string[],
  { runner }: HeaderWorld,
  signal: AbortSignal,
): Promise<string[]> {
  const options = { timeoutMs: limits.cryptsetupTimeoutMs, maxOutputBytes: limits.unitGraphBytes, signal };
  const { status, stdout } = await runner.run(
    '/usr/sbin/cryptsetup',
    ['luksDump', '--dump-json-metadata', device],
    options,
  );
  const json: unknown = status === 0 ? JSON.parse(stdout.toString()) : null;
  const keyslots = isObject(json) && isObject(json['keyslots']) ? json['keyslots'] : {};
  return active.filter((id) => {
    const kdf = isObject(keyslots[id]) ? keyslots[id]['kdf'] : null;
    return isObject(kdf) && kdf['type'] === 'pbkdf2' && Number(kdf['iterations']) <= FAST_ITERATIONS;
  });
}
