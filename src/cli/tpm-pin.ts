import { AppError } from '../base/errors.ts';
import { Secret } from '../base/secret.ts';
import { type Chosen, chosen } from './passphrase.ts';
import type { World } from './world.ts';

const tpmPin: Chosen = { what: 'PIN', question: 'New PIN for the TPM:', option: '--tpm2-pin-file' };

/** What sealing needs. */
export interface SealingWorld extends World {
  /** A PIN for the TPM to seal with. @throws AppError `refused`, `usage`, `stopped` */
  newPin(): Promise<Secret>;
}

export const pinFileOption = { 'tpm2-pin-file': { type: 'string' } } as const;

/**
 * A command's world, where the PIN that is sealed with is known from then on, so that proving does not ask for it.
 * @param file the PIN is in it, to seal and to open
 */
export function knowingPin(world: World, file: string | undefined): SealingWorld {
  let known: Secret | null = null;
  const newPin = async () => {
    known ??= await chosen(tpmPin, file, world, { twice: true });
    return Secret.takeFrom(Buffer.from(known.reveal()));
  };
  return {
    ...world,
    newPin,
    pinOf: (subject, giveUpAfterMs) => async (attempt, signal) => {
      if (attempt === 1 && (known !== null || file !== undefined)) return await newPin();
      if (file === undefined) return await world.pinOf(subject, giveUpAfterMs)(attempt, signal);
      // Asked again with the same, the TPM would count another failure.
      throw new AppError('refused', `--tpm2-pin-file: ${file}: the TPM refuses this PIN`);
    },
  };
}
