import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import { fromBase64url, toBase64url } from './bytes.ts';

/** Who a server or a machine is: SHA-256 of its key's SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), 32 bytes. */
export function keyPinOf(publicKey: KeyObject): Buffer {
  return hash('sha256', publicKey.export({ type: 'spki', format: 'der' }), 'buffer');
}

/** A public key as people write it: `sha256/BASE64URL`, SHA-256 of its SubjectPublicKeyInfo (RFC 5280 §4.1.2.7). */
export function keyPinText(pinSha256: Uint8Array): string {
  return `sha256/${toBase64url(pinSha256)}`;
}

/** @returns null when `value` is not that */
export function parseKeyPin(value: unknown): Buffer | null {
  const [, text] = (typeof value === 'string' && /^sha256\/([A-Za-z0-9_-]{43})$/.exec(value)) || [];
  return text === undefined ? null : fromBase64url(text);
}

/** @param spki SubjectPublicKeyInfo in base64url; throws for anything else */
export function publicKeyFrom(spki: string): KeyObject {
  return createPublicKey({ key: Buffer.from(spki, 'base64url'), format: 'der', type: 'spki' });
}
