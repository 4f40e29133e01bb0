import { AppError, asAppError } from '../base/errors.ts';
import { Secret } from '../base/secret.ts';
import { damaged, parseCompact } from '../jwe/compact.ts';
import { parseSealedKey } from '../pins/table.ts';
import { isPlain, isSealedKey, protectionOf } from './stored.ts';
import { openByAes, wrappedIn } from './tpm2-aes.ts';
import { openContext, type ProtectionWorld } from './world.ts';

const REJOIN =
  'the TPM, or what Parsec has, is another one: on the server luks-key-server invite NAME --rejoin, here fetch-luks-key join --rejoin';

/**
 * Reads a secret that the machine keeps, whatever protects it; nothing is written.
 * @param path for messages
 * @param credentialName of a credential that systemd-creds has encrypted, as earlier versions kept it
 * @throws AppError `foreign-tpm` (another TPM's, or another Parsec's), `damaged`, `unavailable`, `tool-missing`, `stopped`
 */
export async function unprotect(
  path: string,
  bytes: Buffer,
  credentialName: string,
  world: ProtectionWorld,
  signal: AbortSignal,
): Promise<Secret> {
  if (isPlain(bytes)) return new Secret(Buffer.from(bytes));
  try {
    if (isSealedKey(bytes)) return await unseal(bytes, world, signal);
    return await world.credentials.decrypt(bytes, credentialName, signal);
  } catch (thrown) {
    const { code, message } = asAppError(thrown);
    if (code === 'stopped' || code === 'tool-missing') throw thrown;
    const details = { cause: thrown, hint: code === 'foreign-tpm' ? REJOIN : undefined };
    const kept = code === 'foreign-tpm' || code === 'damaged' ? code : 'unavailable';
    throw new AppError(kept, `${path}: ${message}`, details);
  }
}

/** @throws AppError what the pins throw; `damaged` for a sealed key that is not one of those that protect */
export async function unseal(bytes: Buffer, world: ProtectionWorld, signal: AbortSignal): Promise<Secret> {
  const text = bytes.toString('latin1');
  const jwe = parseCompact(text);
  const wrapped = wrappedIn(jwe);
  if (wrapped !== null) return await openByAes(jwe, wrapped, world, signal);
  if (protectionOf(bytes) === 'unknown') throw damaged('expected one that a TPM or Parsec opens');
  const leftovers: Promise<unknown>[] = [];
  try {
    const context = openContext(world, (leftover) => leftovers.push(leftover));
    return await parseSealedKey(text).open(context, signal);
  } finally {
    await Promise.allSettled(leftovers);
  }
}
