import { AppError } from '../base/errors.ts';
import type { Secret } from '../base/secret.ts';
import type { OpenContext, SealContext } from '../pins/pin.ts';

/** What protecting may use: this machine alone, and nobody is asked. */
export type ProtectionWorld = Pick<
  SealContext,
  'tpm' | 'parsec' | 'random' | 'files' | 'http' | 'credentials'
>;

const servers = { byName: () => null, byPin: () => null };

function nobody(): never {
  throw new AppError('refused', 'what a machine keeps opens without anybody to ask');
}

/** @param whole what is protected */
export function sealContext(
  world: ProtectionWorld,
  whole: Secret,
  signal: AbortSignal,
): Omit<SealContext, 'seal'> {
  return { ...world, servers, whole, signal, newPin: nobody, confirm: nobody };
}

/** One try. @param afterwards takes what still has to end */
export function openContext(
  world: ProtectionWorld,
  afterwards: (leftover: Promise<unknown>) => void,
): OpenContext {
  return { ...world, servers, askPin: nobody, attempt: (_title, signal, once) => once(signal), afterwards };
}
