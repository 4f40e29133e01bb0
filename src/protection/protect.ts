import { AppError, asAppError } from '../base/errors.ts';
import type { Secret } from '../base/secret.ts';
import { seal } from '../pins/table.ts';
import type { ProtectMethod, ProtectSettings } from './settings.ts';
import { isProtected, type Protection, protectionOf } from './stored.ts';
import { sealByAes } from './tpm2-aes.ts';
import { unseal } from './unprotect.ts';
import { type ProtectionWorld, sealContext } from './world.ts';

export interface Kept {
  /** What to keep in the file. */
  readonly bytes: Buffer;
  readonly protection: Protection;
  /** Why something else does not protect it: `parsec: …`. */
  readonly faults: readonly string[];
}

/** Each to no boot state, so that an update does not lose what is kept. */
const configs = { parsec: {}, tpm2: { pcr_ids: '' } };

/**
 * Protects a secret that the machine keeps: by the first way that works, and that gives it back.
 * @throws AppError `refused` when nothing protects it and `require` wants that; `stopped`
 */
export async function protect(
  secret: Secret,
  { mode, method }: ProtectSettings,
  world: ProtectionWorld,
  signal: AbortSignal,
): Promise<Kept> {
  const faults: string[] = [];
  for (const one of mode === 'never' ? [] : ways(method, world)) {
    try {
      const bytes = await protectBy(one, secret, world, signal);
      return { bytes, protection: protectionOf(bytes), faults };
    } catch (thrown) {
      const { code, message } = asAppError(thrown).at(one);
      if (code === 'stopped' || code === 'bug') throw thrown;
      faults.push(message);
    }
  }
  if (mode === 'require') {
    throw new AppError('refused', `nothing protects what would be kept: ${faults.join('; ')}`, {
      hint: 'config.yaml has protect-with-tpm: require',
    });
  }
  return { bytes: Buffer.from(secret.reveal()), protection: 'none', faults };
}

/** Where there is no Parsec, that is no fault, unless it is asked for by name. Many TPMs have no AES for others. */
function ways(method: ProtectMethod | null, { parsec }: ProtectionWorld): readonly ProtectMethod[] {
  if (method === 'tpm2-aes') return ['tpm2-aes', 'tpm2'];
  if (method !== null) return [method];
  return parsec.isThere() ? ['parsec', 'tpm2'] : ['tpm2'];
}

async function protectBy(
  method: ProtectMethod,
  secret: Secret,
  world: ProtectionWorld,
  signal: AbortSignal,
): Promise<Buffer> {
  const text =
    method === 'tpm2-aes'
      ? await sealByAes(secret, world, signal)
      : await seal(method, configs[method], secret, sealContext(world, secret, signal));
  const bytes = Buffer.from(`${text}\n`);
  if (!isProtected(protectionOf(bytes))) throw new AppError('unavailable', 'its keys lie on the same disk');
  using again = await unseal(bytes, world, signal);
  if (again.reveal().equals(secret.reveal())) return bytes;
  throw new AppError('unavailable', 'what it protects does not open to the same');
}
