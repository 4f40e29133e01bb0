import { type KeyObject, sign, verify } from 'node:crypto';

/** Ed25519, or ECDSA with SHA-256 as r ‖ s (RFC 7518 §3.4), as the key is. */
export function signatureOf(bytes: Uint8Array, privateKey: KeyObject): Buffer {
  return sign(hashFor(privateKey), bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' });
}

export function isSignatureOf(bytes: Uint8Array, signature: Uint8Array, publicKey: KeyObject): boolean {
  return verify(hashFor(publicKey), bytes, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature);
}

function hashFor(key: KeyObject): 'sha256' | null {
  return key.asymmetricKeyType === 'ec' ? 'sha256' : null;
}
