import { createHash, diffieHellman, generateKeyPairSync } from 'node:crypto';
import type { AppError } from '../base/errors.ts';
import { Secret } from '../base/secret.ts';
import type { Curve, EcPoint } from './curve.ts';
import { parseEcKey, toKeyObject } from './jwk.ts';

/** A key pair that is used once. */
export interface Ephemeral {
  readonly point: EcPoint;
  /** ECDH with a key on the same curve, in another thread: the x coordinate of the shared point. */
  agree(peer: EcPoint): Promise<Secret>;
}

export function generateEphemeral(curve: Curve): Ephemeral {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: curve.name });
  return {
    point: parseEcKey(publicKey.export({ format: 'jwk' }), (reason): AppError => {
      throw new Error(`OpenSSL made a key that is none: ${reason}`);
    }),
    agree: (peer) =>
      new Promise((resolve, reject) => {
        diffieHellman({ privateKey, publicKey: toKeyObject(peer) }, (error, shared) => {
          if (error === null) resolve(Secret.takeFrom(shared));
          else reject(error);
        });
      }),
  };
}

/**
 * Concat KDF with SHA-256, one round (RFC 7518 §4.6.2, NIST SP 800-56A §5.8.1).
 * @param shared Z, the x coordinate of the shared point
 * @param algorithm AlgorithmID: `enc` for direct key agreement
 * @param keyBytes at most 32
 */
export function concatKdf(
  shared: Secret,
  algorithm: string,
  partyU: Uint8Array,
  partyV: Uint8Array,
  keyBytes: number,
): Secret {
  const digest = createHash('sha256')
    .update(uint32(1))
    .update(shared.reveal())
    .update(withLength(Buffer.from(algorithm)))
    .update(withLength(partyU))
    .update(withLength(partyV))
    .update(uint32(keyBytes * 8))
    .digest();
  const key = Secret.takeFrom(digest.subarray(0, keyBytes));
  digest.fill(0);
  return key;
}

/** The content key of `alg: ECDH-ES` with `enc: A256GCM`, without `apu` and `apv`, as Clevis uses it: 32 bytes. */
export function contentKeyFrom(shared: Secret): Secret {
  const nobody = new Uint8Array();
  return concatKdf(shared, 'A256GCM', nobody, nobody, 32);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function withLength(bytes: Uint8Array): Buffer {
  return Buffer.concat([uint32(bytes.length), bytes]);
}
