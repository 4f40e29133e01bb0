import { AppError } from '../base/errors.ts';
import { Secret } from '../base/secret.ts';
import { type Chosen, chosen } from './passphrase.ts';
import type { World } from './world.ts';

const newPin: Chosen = { what: 'PIN', question: 'New PIN for the TPM:', option: '--tpm2-pin-file' };

/** What sealing needs. */
export interface SealingWorld extends World {
  /** A PIN for the TPM to seal with. @param salt of the object @throws AppError `refused`, `usage`, `stopped` */
  newPin(salt: Buffer): Promise<Secret>;
}

export const pinFileOption = { 'tpm2-pin-file': { type: 'string' } } as const;
export const oldPinFileOption = { 'tpm2-old-pin-file': { type: 'string' } } as const;

/** A file that a PIN is in, and the option that named it. */
export interface PinFile {
  readonly path: string;
  readonly option: '--tpm2-pin-file' | '--tpm2-old-pin-file';
}

/** Files that PINs are in; without, a person is asked. */
export interface PinFiles {
  readonly toSeal?: PinFile | null;
  readonly toOpen?: PinFile | null;
}

/** The PIN that is sealed with is new, unless nothing says what the one until now is. */
export function oldAndNew(values: {
  readonly 'tpm2-pin-file'?: string | undefined;
  readonly 'tpm2-old-pin-file'?: string | undefined;
}): PinFiles {
  const { 'tpm2-pin-file': path, 'tpm2-old-pin-file': old } = values;
  const toSeal = pinFile(path);
  return { toSeal, toOpen: old === undefined ? toSeal : { path: old, option: '--tpm2-old-pin-file' } };
}

export function pinFile(path: string | undefined): PinFile | null {
  return path === undefined ? null : { path, option: '--tpm2-pin-file' };
}

/**
 * A command's world, where each PIN that was given is known from then on by the salt of the object that it is for: it is
 * asked for once, and never tried on another object, as the TPM counts what is wrong.
 */
export function knowingPins(world: World, { toSeal = null, toOpen = null }: PinFiles): SealingWorld {
  const known = new Map<string, Secret>();
  const refused = new Set<string>();
  const files = new Map<string, Promise<Secret>>();
  const inFile = async ({ path, option }: PinFile) => {
    const reading = files.get(path) ?? chosen({ ...newPin, option }, path, world, { twice: false });
    files.set(path, reading);
    return copyOf(await reading);
  };
  const know = (salt: Buffer, pin: Secret) => {
    known.set(salt.toString('hex'), copyOf(pin));
    return pin;
  };
  return {
    ...world,
    newPin: async (salt) =>
      know(
        salt,
        toSeal === null ? await chosen(newPin, undefined, world, { twice: true }) : await inFile(toSeal),
      ),
    pinOf: (subject, giveUpAfterMs) => {
      const ask = world.pinOf(subject, giveUpAfterMs);
      return async (attempt, signal, salt) => {
        const before = known.get(salt.toString('hex'));
        if (attempt === 1 && before !== undefined) return copyOf(before);
        if (toOpen === null) return know(salt, await ask(attempt, signal, salt));
        if (attempt === 1 && !refused.has(salt.toString('hex'))) return know(salt, await inFile(toOpen));
        // Asked again with the same, the TPM would count another failure.
        refused.add(salt.toString('hex'));
        known.delete(salt.toString('hex'));
        throw new AppError('refused', `${toOpen.option}: ${toOpen.path}: the TPM refuses this PIN`);
      };
    },
  };
}

function copyOf(pin: Secret): Secret {
  return Secret.takeFrom(Buffer.from(pin.reveal()));
}
