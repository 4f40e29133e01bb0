import { AppError } from './errors.ts';
import { limits } from './limits.ts';

/** Keeps the machine alive towards its key servers. */
export const KEEPALIVE_UNIT = 'fetch-luks-key-keepalive.service';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** A volume's name as crypttab(5) spells it: also a file name under /etc/fetch-luks-key/volumes. */
export type VolumeName = Branded<'VolumeName'>;
export type UnitName = Branded<'UnitName'>;
export type CredentialName = Branded<'CredentialName'>;

/** Fit to be one file's name: not empty, `.` or `..`, no slash, no control character. */
function isFileName(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is being refused
  return text !== '' && text !== '.' && text !== '..' && !/[/\u0000-\u001f\u007f]/.test(text);
}

export function isVolumeName(text: string): text is VolumeName {
  return isFileName(text) && Buffer.byteLength(text) <= limits.volumeNameBytes;
}

/** @throws AppError `bad-request` */
export function volumeName(text: string): VolumeName {
  if (!isVolumeName(text)) {
    const bytes = Buffer.byteLength(text);
    throw new AppError(
      'bad-request',
      `volume name ${JSON.stringify(text)}: expected 1 to ${limits.volumeNameBytes} bytes that can be a file's name, got ${bytes}`,
    );
  }
  return text;
}

/** @throws AppError `bad-request` */
export function credentialName(
  unit: string,
  credential: string,
): { unit: UnitName; credential: CredentialName } {
  const bytes = Buffer.byteLength(unit) + Buffer.byteLength(credential);
  if (!isFileName(unit) || !isFileName(credential) || bytes > limits.unitAndCredentialBytes) {
    throw new AppError(
      'bad-request',
      `credential ${JSON.stringify(`${unit}/${credential}`)}: expected a unit's and a credential's name of at most ${limits.unitAndCredentialBytes} bytes together`,
    );
  }
  return { unit: unit as UnitName, credential: credential as CredentialName };
}
