import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { bigIntToBytes, bytesToBigInt, fromBase64url, toBase64url } from '../base/bytes.ts';
import type { AppError } from '../base/errors.ts';
import { curves, type EcPoint, pointOn } from './curve.ts';

/** Makes the error of a malformed thing: who reads a key knows whether it came from a file or from the network. */
export type Malformed = (reason: string) => AppError;

/** An EC public key as RFC 7518 §6.2.1 spells it. */
export interface EcJwk {
  readonly crv: string;
  readonly kty: 'EC';
  readonly x: string;
  readonly y: string;
}

/**
 * @param malformed is told what is wrong: `expected …, got …`
 * @throws what `malformed` makes, unless `value` is an EC public key on P-256 or P-521 whose point is on its curve
 */
export function parseEcKey(value: unknown, malformed: Malformed): EcPoint {
  const jwk = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  if (jwk.kty !== 'EC') throw malformed('expected a key with kty "EC"');
  const curve = jwk.crv === 'P-256' || jwk.crv === 'P-521' ? curves[jwk.crv] : null;
  if (curve === null) throw malformed('expected crv "P-256" or "P-521"');
  const coordinate = (name: 'x' | 'y'): bigint => {
    const text = jwk[name];
    const bytes = typeof text === 'string' ? fromBase64url(text) : null;
    if (bytes?.length !== curve.coordinateBytes) {
      throw malformed(`expected ${name} to be ${curve.coordinateBytes} bytes in base64url`);
    }
    return bytesToBigInt(bytes);
  };
  const point = pointOn(curve, coordinate('x'), coordinate('y'));
  if (point === null) throw malformed(`expected a point on ${curve.name}, got one that is not`);
  return point;
}

export function toJwk({ curve, x, y }: EcPoint): EcJwk {
  return {
    crv: curve.name,
    kty: 'EC',
    x: toBase64url(bigIntToBytes(x, curve.coordinateBytes)),
    y: toBase64url(bigIntToBytes(y, curve.coordinateBytes)),
  };
}

export function toKeyObject(point: EcPoint): KeyObject {
  return createPublicKey({ key: { ...toJwk(point) }, format: 'jwk' });
}

/** Clevis' names for the hashes of a thumbprint: SHA-256, and SHA-1 in keys that Clevis before 17 has sealed. */
export type ThumbprintHash = 'S256' | 'S1';

/** RFC 7638 §3: the required members alone, in lexical order, without white space. In base64url. */
export function thumbprint(jwk: EcJwk, hash: ThumbprintHash): string {
  const canonical = JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y });
  return createHash(hash === 'S256' ? 'sha256' : 'sha1')
    .update(canonical)
    .digest('base64url');
}

/** Whether `text` can be a thumbprint: fit for a URL's path, and of one hash's length. */
export function isThumbprint(text: unknown): text is string {
  if (typeof text !== 'string') return false;
  const bytes = fromBase64url(text)?.length;
  return bytes === 32 || bytes === 20;
}

export function hasThumbprint(jwk: EcJwk, text: string): boolean {
  return thumbprint(jwk, 'S256') === text || thumbprint(jwk, 'S1') === text;
}
