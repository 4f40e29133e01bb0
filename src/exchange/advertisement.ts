import { verify } from 'node:crypto';
import { fromBase64url } from '../base/bytes.ts';
import { limits } from '../base/limits.ts';
import type { EcPoint } from './curve.ts';
import { type Malformed, parseEcKey, thumbprint, toJwk, toKeyObject } from './jwk.ts';

/** What a Tang server says of itself: a JWK set that each of its signing keys has signed. */
export interface Advertisement {
  /** The JWK set as the server wrote it. */
  readonly jwks: Readonly<Record<string, unknown>>;
  /** Keys for `verify`, at least one: whom to trust. */
  readonly signingKeys: readonly EcPoint[];
  /** Keys for `deriveKey`, at least one: what to seal to. */
  readonly exchangeKeys: readonly EcPoint[];
}

interface Signature {
  readonly alg: unknown;
  readonly input: Buffer;
  readonly value: Buffer;
}

/**
 * Reads and verifies an advertisement, a JWS in general or flattened JSON serialization (RFC 7515 §7.2).
 * @throws what `malformed` makes when it is not that, or not signed by every key in it that is for `verify`
 */
export function readAdvertisement(jws: unknown, malformed: Malformed): Advertisement {
  const { payload } = asObject(jws, 'a JWS as JSON', malformed);
  if (typeof payload !== 'string') throw malformed('expected a JWS as JSON with a payload');
  const jwks = asObject(decodeJson(payload), 'payload: a JWK set', malformed);
  const keys = list(jwks.keys, 'keys', malformed);
  const signatures = readSignatures(asObject(jws, 'a JWS as JSON', malformed), payload, malformed);
  const signingKeys = keysFor('verify', keys, malformed);
  for (const [point, alg] of signingKeys) {
    if (!signatures.some((signature) => verifies(signature, point, alg))) {
      throw malformed(
        `expected a signature of key ${thumbprint(toJwk(point), 'S256')}, got none that verifies`,
      );
    }
  }
  const exchangeKeys = keysFor('deriveKey', keys, malformed);
  return {
    jwks,
    signingKeys: signingKeys.map(([point]) => point),
    exchangeKeys: exchangeKeys.map(([point]) => point),
  };
}

/** The keys whose `key_ops` allow `operation` (RFC 7517 §4.3), each with its `alg`. */
function keysFor(operation: string, keys: readonly unknown[], malformed: Malformed): [EcPoint, unknown][] {
  const found = keys
    .map((key) => asObject(key, 'keys: JWKs', malformed))
    .filter(({ key_ops }) => Array.isArray(key_ops) && key_ops.includes(operation))
    .map((key): [EcPoint, unknown] => [
      parseEcKey(key, (reason) => malformed(`key for ${operation}: ${reason}`)),
      key.alg,
    ]);
  if (found.length === 0) throw malformed(`expected a key for ${operation}, got none`);
  return found;
}

function readSignatures(jws: Record<string, unknown>, payload: string, malformed: Malformed): Signature[] {
  const entries = jws.signatures === undefined ? [jws] : list(jws.signatures, 'signatures', malformed);
  return entries.map((entry) => {
    const { protected: header, signature } = asObject(entry, 'signatures: objects', malformed);
    const value = typeof signature === 'string' ? fromBase64url(signature) : null;
    if (typeof header !== 'string' || value === null) {
      throw malformed('expected a signature with a protected header, in base64url');
    }
    const { alg, crit } = asObject(decodeJson(header), 'protected header: a JSON object', malformed);
    // RFC 7515 §4.1.11: what must be understood, and is not, makes the JWS invalid.
    if (crit !== undefined) throw malformed('protected header: expected no crit, got one');
    return { alg, input: Buffer.from(`${header}.${payload}`), value };
  });
}

/** ES256 and ES512 (RFC 7518 §3.4): each curve has one. */
function verifies(signature: Signature, point: EcPoint, keyAlg: unknown): boolean {
  const [alg, hash] = point.curve.name === 'P-256' ? ['ES256', 'sha256'] : ['ES512', 'sha512'];
  if (signature.alg !== alg || (keyAlg !== undefined && keyAlg !== alg)) return false;
  return verify(
    hash,
    signature.input,
    { key: toKeyObject(point), dsaEncoding: 'ieee-p1363' },
    signature.value,
  );
}

function decodeJson(text: string): unknown {
  try {
    return JSON.parse(
      new TextDecoder('utf-8', { fatal: true }).decode(fromBase64url(text) ?? new Uint8Array()),
    );
  } catch {
    return undefined;
  }
}

function asObject(value: unknown, what: string, malformed: Malformed): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw malformed(`expected ${what}`);
}

function list(value: unknown, name: string, malformed: Malformed): unknown[] {
  if (!Array.isArray(value)) throw malformed(`expected ${name} to be a list`);
  if (value.length > limits.tangKeys) {
    throw malformed(`expected at most ${limits.tangKeys} ${name}, got ${value.length}`);
  }
  return value;
}
