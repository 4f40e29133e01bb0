import { checkPrimeSync, generatePrimeSync } from 'node:crypto';
import { bigIntToBytes, bytesToBigInt } from '../base/bytes.ts';
import { AppError } from '../base/errors.ts';
import type { Random } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';

/**
 * Shamir's threshold scheme over a prime field (Shamir, "How to share a secret", CACM 22, 1979), in the form that
 * Clevis' sss pin writes: a share is x ‖ y, each as long as the prime, big-endian; the secret is f(0).
 */
export const FIELD_BYTES = 32;
export const SHARE_BYTES = 2 * FIELD_BYTES;

/** @returns null unless `bytes` is a prime of exactly 256 bits */
export function parsePrime(bytes: Buffer): bigint | null {
  const topBit = (bytes[0] ?? 0) & 0x80;
  if (bytes.length !== FIELD_BYTES || topBit === 0) return null;
  const p = bytesToBigInt(bytes);
  return checkPrimeSync(p) ? p : null;
}

export interface Sharing {
  /** The field's prime, 32 bytes. */
  readonly prime: Buffer;
  /** f(0), 32 bytes. */
  readonly secret: Secret;
  /** A new point of the polynomial, 64 bytes. */
  share(): Secret;
}

/** A random polynomial of degree `threshold − 1` over a fresh safe prime, as Clevis makes it. */
export function newSharing(threshold: number, random: Random): Sharing {
  const p = generatePrimeSync(FIELD_BYTES * 8, { safe: true, bigint: true });
  const coefficients = Array.from({ length: threshold }, () => below(p, random));
  const used = new Set<bigint>();
  return {
    prime: bigIntToBytes(p, FIELD_BYTES),
    secret: new Secret(bigIntToBytes(coefficients[0] ?? 0n, FIELD_BYTES)),
    share() {
      let x = below(p, random);
      while (x === 0n || used.has(x)) x = below(p, random);
      used.add(x);
      const y = coefficients.reduceRight((sum, coefficient) => (sum * x + coefficient) % p, 0n);
      return new Secret(bigIntToBytes((x << BigInt(8 * FIELD_BYTES)) | y, SHARE_BYTES));
    },
  };
}

/**
 * f(0) by Lagrange interpolation through exactly as many points as the threshold. That the points belong together
 * only shows when what the secret opens authenticates.
 * @throws AppError `damaged`, as `pointOf`
 */
export function combine(p: bigint, shares: readonly Secret[]): Secret {
  const taken = new Set<bigint>();
  const points = shares.map((share) => pointOf(p, share, taken));
  let secret = 0n;
  for (const { x, y } of points) {
    let numerator = 1n;
    let denominator = 1n;
    for (const { x: other } of points) {
      if (other === x) continue;
      numerator = (numerator * (p - other)) % p;
      denominator = (denominator * (x - other + p)) % p;
    }
    secret = (secret + y * numerator * power(denominator, p - 2n, p)) % p;
  }
  return new Secret(bigIntToBytes(secret, FIELD_BYTES));
}

/**
 * @param taken the x of the shares that there are already, to which its own is added
 * @throws AppError `damaged` for a share that is none: wrong length, outside the field, x = 0, the same x twice
 */
export function pointOf(p: bigint, share: Secret, taken: Set<bigint>): { x: bigint; y: bigint } {
  if (share.length !== SHARE_BYTES) throw badShare(`expected ${SHARE_BYTES} bytes, got ${share.length}`);
  const x = bytesToBigInt(share.reveal().subarray(0, FIELD_BYTES));
  const y = bytesToBigInt(share.reveal().subarray(FIELD_BYTES));
  if (x === 0n) throw badShare('x is 0, which would be the secret itself');
  if (x >= p || y >= p) throw badShare('outside the field');
  if (taken.has(x)) throw badShare('two shares with the same x');
  taken.add(x);
  return { x, y };
}

function badShare(what: string): AppError {
  return new AppError('damaged', `sealed key: sss share: ${what}`);
}

/** Uniform in [0, p): p has its top bit set, so a draw is thrown away less than every second time. */
function below(p: bigint, random: Random): bigint {
  for (;;) {
    const bytes = random.bytes(FIELD_BYTES);
    const value = bytesToBigInt(bytes);
    bytes.fill(0);
    if (value < p) return value;
  }
}

function power(base: bigint, exponent: bigint, p: bigint): bigint {
  let result = 1n;
  let square = base % p;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % p;
    square = (square * square) % p;
  }
  return result;
}
