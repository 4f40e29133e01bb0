import { fromBase64url, toBase64url } from './bytes.ts';

/** A public key as people write it: `sha256/BASE64URL`, SHA-256 of its SubjectPublicKeyInfo (RFC 5280 §4.1.2.7). */
export function keyPinText(pinSha256: Uint8Array): string {
  return `sha256/${toBase64url(pinSha256)}`;
}

/** @returns null when `value` is not that */
export function parseKeyPin(value: unknown): Buffer | null {
  const [, text] = (typeof value === 'string' && /^sha256\/([A-Za-z0-9_-]{43})$/.exec(value)) || [];
  return text === undefined ? null : fromBase64url(text);
}
