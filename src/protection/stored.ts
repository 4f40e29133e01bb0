import { parseCompact } from '../jwe/compact.ts';
import { parseSealedKey } from '../pins/table.ts';
import { TPM2_AES, wrappedIn } from './tpm2-aes.ts';

/** What a secret on the disk is protected by: who has the disk has what nothing, or the disk itself, protects. */
export type Protection =
  | 'none'
  | 'host key on the same disk'
  | 'parsec key on the same disk'
  | 'tpm2'
  | 'tpm2-aes'
  | 'tpm2 and host key'
  | 'parsec tpm'
  | 'parsec pkcs11'
  | 'unknown';

const IN_HARDWARE: readonly Protection[] = [
  'tpm2',
  'tpm2-aes',
  'tpm2 and host key',
  'parsec tpm',
  'parsec pkcs11',
];

/** Whether a TPM or an HSM is needed to read it. */
export function isProtected(protection: Protection): boolean {
  return IN_HARDWARE.includes(protection);
}

/** For people. */
export function protectionText(protection: Protection): string {
  if (protection === 'unknown') return 'encrypted in a way that is not known here';
  return `protected by ${protection === 'none' ? 'nothing' : protection}`;
}

/** The first 16 bytes of an encrypted credential say how (systemd's src/shared/creds-util.h). */
const credentials: Readonly<Record<string, Protection>> = {
  '5a1c6a86df9d4096b1d5a65e0862f19a': 'host key on the same disk',
  '55b9ed1d38594d43a8319d2ebb332ac6': 'host key on the same disk',
  '0c7cc07b117645919c4b0bea08bc20fe': 'tpm2',
  faf7eb9341e3412ca1a436f95a29362f: 'tpm2',
  '93a894094874449090caf2fc93cab553': 'tpm2 and host key',
  ef4ac13679a9480ea7db68897f9f165d: 'tpm2 and host key',
  af4950a849134eb1a73846304ff30c05: 'tpm2 and host key',
  adbc4ca3efb64201ba881b6f2e4095ea: 'tpm2 and host key',
  // A key of zeros, for machines without a TPM.
  '058469daf6f54324800549da0f8ea2fb': 'none',
};

/** A sealed key's title, for those that protect what is kept. */
const sealedKeys: Readonly<Record<string, Protection>> = {
  tpm2: 'tpm2',
  'parsec tpm': 'parsec tpm',
  'parsec pkcs11': 'parsec pkcs11',
  'parsec mbed-crypto': 'parsec key on the same disk',
};

/** By the file's own bytes, whatever configuration or file name say. */
export function protectionOf(bytes: Buffer): Protection {
  if (isPlain(bytes)) return 'none';
  if (isSealedKey(bytes)) return protectionOfSealedKey(bytes.toString('latin1'));
  return credentialProtection(Buffer.from(bytes.toString('latin1'), 'base64'));
}

/** @param credential systemd's, not in base64 */
export function credentialProtection(credential: Buffer): Protection {
  return credentials[credential.toString('hex', 0, 16)] ?? 'unknown';
}

/** PEM, which nothing protects. */
export function isPlain(bytes: Buffer): boolean {
  return bytes.subarray(0, 11).toString('latin1') === '-----BEGIN ';
}

/** A JWE in compact serialization has five parts, and its first one begins with `{"` in base64url. */
export function isSealedKey(bytes: Buffer): boolean {
  return bytes.subarray(0, 3).toString('latin1') === 'eyJ' && bytes.includes('.');
}

function protectionOfSealedKey(text: string): Protection {
  try {
    if (wrappedIn(parseCompact(text)) !== null) return TPM2_AES;
    return sealedKeys[parseSealedKey(text).title] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}
