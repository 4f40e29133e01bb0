import { limits } from '../base/limits.ts';
import type { Runner } from '../base/ports.ts';
import { isObject } from '../luks/metadata.ts';

/** Iterations of `enroll`'s own keyslots: of a passphrase there are a hundred times as many. */
const FAST_ITERATIONS = 1000;

/**
 * Keyslots whose key derivation is fit for a random key only.
 * @param active those of a LUKS2 header
 * @throws AppError `tool-missing`, `unavailable`, `stopped`
 */
export async function fastKeyslots(
  device: string,
  active: readonly string[],
  runner: Runner,
  signal: AbortSignal,
): Promise<string[]> {
  const args = ['luksDump', '--dump-json-metadata', device];
  const { status, stdout } = await runner.run('/usr/sbin/cryptsetup', args, {
    timeoutMs: limits.cryptsetupTimeoutMs,
    maxOutputBytes: limits.luksHeaderBytes,
    signal,
  });
  const json: unknown = status === 0 ? JSON.parse(stdout.toString()) : null;
  const keyslots = isObject(json) && isObject(json['keyslots']) ? json['keyslots'] : {};
  return active.filter((id) => {
    const kdf = isObject(keyslots[id]) ? keyslots[id]['kdf'] : null;
    return isObject(kdf) && kdf['type'] === 'pbkdf2' && Number(kdf['iterations']) <= FAST_ITERATIONS;
  });
}
