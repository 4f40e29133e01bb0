import { type KeyObject, sign } from 'node:crypto';
import type { EcPoint } from './curve.ts';
import { toJwk } from './jwk.ts';

/** A signature's JWA name and hash (RFC 7518 §3.4): each curve has one. */
const signatures = {
  'P-256': { alg: 'ES256', hash: 'sha256' },
  'P-521': { alg: 'ES512', hash: 'sha512' },
} as const;

/**
 * What a Tang server says of itself, as tangd writes it: a JWK set of the signing key and of one exchange key, as a JWS
 * in flattened JSON serialization (RFC 7515 §7.2.2).
 * @param signingKey private, on `signer`'s curve
 * @param signer its public point
 */
export function signAdvertisement(
  signingKey: KeyObject,
  signer: EcPoint,
  exchangeKey: EcPoint,
): { payload: string; protected: string; signature: string } {
  const { alg, hash } = signatures[signer.curve.name];
  const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const payload = encoded({
    keys: [
      { alg, ...toJwk(signer), key_ops: ['verify'] },
      { alg: 'ECMR', ...toJwk(exchangeKey), key_ops: ['deriveKey'] },
    ],
  });
  const header = encoded({ alg, cty: 'jwk-set+json' });
  const signature = sign(hash, Buffer.from(`${header}.${payload}`), {
    key: signingKey,
    dsaEncoding: 'ieee-p1363',
  });
  return { payload, protected: header, signature: signature.toString('base64url') };
}
