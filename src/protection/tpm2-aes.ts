import { fromBase64url, toBase64url } from '../base/bytes.ts';
import { Secret } from '../base/secret.ts';
import { damaged, isObject, type Jwe, shown } from '../jwe/compact.ts';
import { CONTENT_KEY_BYTES, decryptContent, encryptCompact } from '../jwe/content.ts';
import { AES_HANDLES, type WrappedSecret } from '../tpm/aes-key.ts';
import { parseStorageKey } from '../tpm/structures.ts';
import type { ProtectionWorld } from './world.ts';

export const TPM2_AES = 'tpm2-aes';

const IV_BYTES = 16;
/** An ESYS_TR of a symmetric key has 96 bytes. */
const KEY_BYTES = 1024;

/**
 * The content key is encrypted by an AES-256-CFB key that the TPM keeps; AES-GCM covers the rest, and so finds out what
 * was changed. The protected header has it as `clevis.tpm2-aes`: `srk`, `handle`, `key`, `iv` and `ciphertext`, bytes in
 * base64url. It is no pin: what protects a machine's own secrets alone may be without a policy.
 * @throws AppError what `Tpm.wrap` throws
 */
export async function sealByAes(
  secret: Secret,
  { tpm, random }: ProtectionWorld,
  signal: AbortSignal,
): Promise<string> {
  using contentKey = new Secret(random.bytes(CONTENT_KEY_BYTES));
  const wrapped = await tpm.wrap(contentKey, random.bytes(IV_BYTES), signal);
  const own = {
    srk: toBase64url(wrapped.storageKey.serialized),
    handle: wrapped.handle,
    key: toBase64url(wrapped.key),
    iv: toBase64url(wrapped.iv),
    ciphertext: toBase64url(wrapped.ciphertext),
  };
  return encryptCompact(
    { alg: 'dir', clevis: { pin: TPM2_AES, [TPM2_AES]: own } },
    contentKey,
    secret,
    random,
  );
}

/** @returns null when something else opens it @throws AppError `damaged` */
export function wrappedIn({ header }: Jwe): WrappedSecret | null {
  const { clevis } = header;
  if (!isObject(clevis) || clevis['pin'] !== TPM2_AES) return null;
  const own = isObject(clevis[TPM2_AES]) ? clevis[TPM2_AES] : {};
  const wrong = (field: string, expected: string) =>
    damaged(`header field clevis.${TPM2_AES}.${field}: expected ${expected}, got ${shown(own[field])}`);
  const bytes = (field: string, fits: (length: number) => boolean) => {
    const value = typeof own[field] === 'string' ? fromBase64url(own[field]) : null;
    if (value === null || !fits(value.length)) throw wrong(field, 'base64url of the right length');
    return value;
  };
  const storageKey = parseStorageKey(bytes('srk', (length) => length <= KEY_BYTES));
  if (storageKey === null) throw wrong('srk', 'the standard storage key');
  const handle = AES_HANDLES.find((one) => one === own['handle']);
  if (handle === undefined) throw wrong('handle', AES_HANDLES.join(', '));
  return {
    storageKey,
    handle,
    key: bytes('key', (length) => length <= KEY_BYTES),
    iv: bytes('iv', (length) => length === IV_BYTES),
    ciphertext: bytes('ciphertext', (length) => length === CONTENT_KEY_BYTES),
  };
}

/** @throws AppError what `Tpm.unwrap` throws; `damaged` */
export async function openByAes(
  jwe: Jwe,
  wrapped: WrappedSecret,
  { tpm }: ProtectionWorld,
  signal: AbortSignal,
): Promise<Secret> {
  using contentKey = await tpm.unwrap(wrapped, signal);
  const plaintext = decryptContent(jwe, contentKey);
  if (plaintext === null)
    throw damaged("content does not authenticate with the key that the TPM's AES key gave");
  return plaintext;
}
