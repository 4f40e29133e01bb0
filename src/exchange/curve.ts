/**
 * Affine arithmetic on the two curves that Tang uses (NIST SP 800-186 §3.2.1): addition, and the way back from an
 * x coordinate to its point. Multiplication is OpenSSL's, which is fast, runs in constant time, and gives x only.
 * What is added here is public, or masked by an ephemeral key that is used once.
 */

export type CurveName = 'P-256' | 'P-521';

/** y² = x³ − 3x + b over the integers modulo p, with p ≡ 3 (mod 4). */
export interface Curve {
  readonly name: CurveName;
  /** A coordinate's length in a JWK and in ECDH's shared secret (RFC 7518 §6.2.1.2). */
  readonly coordinateBytes: number;
  readonly p: bigint;
  readonly b: bigint;
}

/** A point on its curve, never the one at infinity: only the functions of this folder make one. */
export interface EcPoint {
  readonly curve: Curve;
  readonly x: bigint;
  readonly y: bigint;
}

export const curves: Readonly<Record<CurveName, Curve>> = {
  'P-256': {
    name: 'P-256',
    coordinateBytes: 32,
    p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
  },
  'P-521': {
    name: 'P-521',
    coordinateBytes: 66,
    p: 2n ** 521n - 1n,
    b: 0x51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
  },
};

/** @returns null when these are not the coordinates of a point: out of range, or off the curve */
export function pointOn(curve: Curve, x: bigint, y: bigint): EcPoint | null {
  if (x < 0n || y < 0n || x >= curve.p || y >= curve.p) return null;
  return (y * y) % curve.p === ySquared(curve, x) ? { curve, x, y } : null;
}

/** One of the two points with this x coordinate; the other is its negative. @returns null when there is none */
export function pointWithX(curve: Curve, x: bigint): EcPoint | null {
  return pointOn(curve, x, power(ySquared(curve, x), (curve.p + 1n) / 4n, curve.p));
}

export function negative({ curve, x, y }: EcPoint): EcPoint {
  return { curve, x, y: y === 0n ? 0n : curve.p - y };
}

/** Both on the same curve. @returns null for the point at infinity */
export function add(one: EcPoint, other: EcPoint): EcPoint | null {
  const { curve } = one;
  const { p } = curve;
  const same = one.x === other.x;
  if (same && (one.y + other.y) % p === 0n) return null;
  const slope = same
    ? (3n * one.x * one.x - 3n) * inverse(2n * one.y, p)
    : (other.y - one.y) * inverse(other.x - one.x, p);
  const x = modulo(slope * slope - one.x - other.x, p);
  return { curve, x, y: modulo(slope * (one.x - x) - one.y, p) };
}

function ySquared(curve: Curve, x: bigint): bigint {
  return modulo(x * x * x - 3n * x + curve.b, curve.p);
}

/** In [0, p), as `%` keeps the sign. */
function modulo(value: bigint, p: bigint): bigint {
  const rest = value % p;
  return rest < 0n ? rest + p : rest;
}

function power(base: bigint, exponent: bigint, p: bigint): bigint {
  let result = 1n;
  let square = base;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % p;
    square = (square * square) % p;
  }
  return result;
}

/** By the extended Euclidean algorithm; `value` must not be a multiple of the prime p. */
function inverse(value: bigint, p: bigint): bigint {
  let [a, b] = [modulo(value, p), p];
  let [x, y] = [1n, 0n];
  while (a > 1n) {
    const quotient = b / a;
    [a, b] = [b - quotient * a, a];
    [x, y] = [y - quotient * x, x];
  }
  return modulo(x, p);
}
