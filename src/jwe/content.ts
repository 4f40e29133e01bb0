import { createCipheriv, createDecipheriv } from 'node:crypto';
import { toBase64url } from '../base/bytes.ts';
import type { Random } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import type { Jwe } from './compact.ts';

/** A256GCM (RFC 7518 §5.3): key and sizes in bytes. */
export const CONTENT_KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Encrypts `plaintext` into a JWE compact serialization with this protected header.
 * @param header without `enc`, which is added
 * @param contentKey 32 bytes
 */
export function encryptCompact(
  header: Readonly<Record<string, unknown>>,
  contentKey: Secret,
  plaintext: Secret,
  random: Random,
): string {
  const protectedText = toBase64url(Buffer.from(JSON.stringify({ ...header, enc: 'A256GCM' })));
  const iv = random.bytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', contentKey.reveal(), iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(protectedText));
  const ciphertext = Buffer.concat([cipher.update(plaintext.reveal()), cipher.final()]);
  return [protectedText, '', toBase64url(iv), toBase64url(ciphertext), toBase64url(cipher.getAuthTag())].join(
    '.',
  );
}

/** @returns null when the key, or any part of the JWE, is not the one that it was made with */
export function decryptContent(jwe: Jwe, contentKey: Secret): Secret | null {
  if (contentKey.length !== CONTENT_KEY_BYTES) return null;
  const decipher = createDecipheriv('aes-256-gcm', contentKey.reveal(), jwe.iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(jwe.protectedText));
  decipher.setAuthTag(jwe.tag);
  const plaintext = Secret.takeFrom(decipher.update(jwe.ciphertext));
  try {
    decipher.final();
    return plaintext;
  } catch {
    plaintext.wipe();
    return null;
  }
}
