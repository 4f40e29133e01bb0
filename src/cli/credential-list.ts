import { asAppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import { credentialAddress } from '../credentials/address.ts';
import { dropInFor, ownProcessSocket } from '../credentials/drop-in.ts';
import { credentialsFolder, type Form, forms } from '../credentials/place.ts';
import { parseSealedKey } from '../pins/table.ts';

export interface StoredCredential {
  readonly unit: string;
  readonly credential: string;
  readonly path: string;
  /** As systemd's encrypted credential. */
  readonly encrypted: boolean;
  /** `2 of {tpm2, remote …}`; null when it is broken. */
  readonly opensBy: string | null;
  /** There is a drop-in of `credential install`; a unit may ask for it in another way. */
  readonly installed: boolean;
  /** Why nobody can get it; null = nothing is wrong with it as it lies there. */
  readonly problem: string | null;
}

/** What is sealed for services, by unit and name. @throws AppError `bad-config` when a folder cannot be read */
export async function credentialsIn(etc: string, files: Files): Promise<StoredCredential[]> {
  const found: StoredCredential[] = [];
  for (const form of forms) {
    const folder = credentialsFolder(etc, form);
    for (const unit of await files.list(folder)) {
      for (const file of await files.list(`${folder}/${unit}`)) {
        if (file.endsWith('.jwe')) found.push(await stored(folder, unit, file.slice(0, -4), form, files));
      }
    }
  }
  return found;
}

async function stored(
  folder: string,
  unit: string,
  credential: string,
  form: Form,
  files: Files,
): Promise<StoredCredential> {
  const path = `${folder}/${unit}/${credential}.jwe`;
  const about = { unit, credential, path, encrypted: form === 'encrypted' };
  try {
    const dropIn = dropInFor(credentialAddress(`${unit}/${credential}`), form, ownProcessSocket);
    const installed = (await files.mode(dropIn.path)) !== null;
    try {
      const text = (await files.read(path, limits.sealedKeyBytes))?.toString('latin1') ?? '';
      return { ...about, opensBy: parseSealedKey(text).title, installed, problem: null };
    } catch (thrown) {
      return { ...about, opensBy: null, installed, problem: asAppError(thrown).message };
    }
  } catch (thrown) {
    return { ...about, opensBy: null, installed: false, problem: asAppError(thrown).message };
  }
}
