import { createPublicKey, type KeyObject } from 'node:crypto';
import { fromBase64url, toBase64url } from '../base/bytes.ts';
import { keyPinOf, keyPinText, parseKeyPin, publicKeyFrom } from '../base/key-pin.ts';
import { isSignatureOf, signatureOf } from '../base/signature.ts';

/** A server's word for who comes after it, as JSON: whoever knows the one key may take the other for the same server. */
export interface Succession {
  /** SubjectPublicKeyInfo of the key that gives its word, in base64url. */
  readonly key: string;
  /** The key that follows, `sha256/BASE64URL`. */
  readonly next: string;
  /** base64url (`signatureOf`). */
  readonly signature: string;
}

export function succession(privateKey: KeyObject, nextSha256: Buffer): Succession {
  const publicKey = createPublicKey(privateKey);
  const key = publicKey.export({ format: 'der', type: 'spki' }).toString('base64url');
  const signature = signatureOf(signedBytes(keyPinOf(publicKey), nextSha256), privateKey);
  return { key, next: keyPinText(nextSha256), signature: toBase64url(signature) };
}

/**
 * @param chain oldest first
 * @returns each key of it, by SHA-256 of its SubjectPublicKeyInfo, as far as each is followed by the next one
 */
export function lineOf(chain: readonly Succession[]): Buffer[] {
  const line: Buffer[] = [];
  for (const step of chain) {
    const pins = pinsOf(step);
    if (pins === null || (line.length > 0 && line.at(-1)?.equals(pins.own) !== true)) break;
    if (line.length === 0) line.push(pins.own);
    line.push(pins.next);
  }
  return line;
}

/** @returns null when it is not signed by its key */
function pinsOf({ key, next, signature }: Succession): { own: Buffer; next: Buffer } | null {
  try {
    const nextSha256 = parseKeyPin(next);
    const bytes = fromBase64url(signature);
    if (nextSha256 === null || bytes === null) return null;
    const publicKey = publicKeyFrom(key);
    const own = keyPinOf(publicKey);
    return isSignatureOf(signedBytes(own, nextSha256), bytes, publicKey) ? { own, next: nextSha256 } : null;
  } catch {
    // No key at all, or not even text.
    return null;
  }
}

function signedBytes(own: Buffer, next: Buffer): Buffer {
  return Buffer.from(`luks-key-server succession 1\n${toBase64url(own)}\n${toBase64url(next)}\n`);
}
