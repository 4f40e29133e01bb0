import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { DurableFiles, Files } from '../base/ports.ts';
import type { CredentialAddress } from './address.ts';
import { credentialPath, type Form, recordPath } from './place.ts';

/** By which a secret can be sealed again: what a header says of itself is not authenticated. No secret is in it. */
export interface CredentialRecord {
  readonly pin: string;
  readonly config: object;
}

interface Stored extends CredentialRecord {
  /** The sealed keys that it is true of, by their tags. */
  readonly tags: readonly string[];
}

/** The last part of a JWE: no two have the same (RFC 7516 §7.1). */
const tagOf = (sealedKey: string) => sealedKey.trim().split('.').at(-1) ?? '';

/**
 * Keeps a sealed key and how it was made. Whoever is killed in between leaves the old one, with its record if that is
 * the same, else without.
 * @param before the sealed key that it replaces, which was made in the same way; null: it is not, or there is none
 * @throws AppError `unavailable`
 */
export function keepSealed(
  sealedKey: string,
  record: CredentialRecord,
  place: { readonly etc: string; readonly address: CredentialAddress; readonly form: Form },
  before: string | null,
  durable: DurableFiles,
): string {
  const path = credentialPath(place.etc, place.address, place.form);
  const tags = [...(before === null ? [] : [before]), sealedKey].map(tagOf);
  const stored: Stored = { pin: record.pin, config: record.config, tags };
  durable.makeFolder(path.slice(0, path.lastIndexOf('/')));
  durable.replace(
    recordPath(place.etc, place.address, place.form),
    Buffer.from(`${JSON.stringify(stored)}\n`),
  );
  durable.replace(path, Buffer.from(sealedKey));
  return path;
}

/** @returns null when nothing says how this one was sealed @throws AppError `damaged`, `bad-config` */
export async function recordOf(
  sealedKey: string,
  path: string,
  files: Files,
): Promise<CredentialRecord | null> {
  const bytes = await files.read(path, limits.sealedKeyBytes);
  if (bytes === null) return null;
  try {
    const { pin, config, tags } = JSON.parse(bytes.toString()) as Stored;
    return tags.includes(tagOf(sealedKey)) ? { pin, config } : null;
  } catch (cause) {
    const hint = 'remove it, and say how to seal: credential rotate UNIT ID PIN CONFIG';
    throw new AppError('damaged', `${path}: expected what seal wrote`, { cause, hint });
  }
}
