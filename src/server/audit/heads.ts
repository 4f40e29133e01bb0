import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto';
import { fromBase64url, toBase64url } from '../../base/bytes.ts';
import type { Head } from './chain.ts';

/** A head with the server's word for it. */
export interface SignedHead extends Head {
  /** When it was signed: milliseconds since 1970 (UTC), only shown. */
  readonly wallMs: number;
  /** SHA-256 of the signing key's SubjectPublicKeyInfo. */
  readonly signer: Buffer;
  /** Ed25519, or ECDSA with SHA-256 as r ‖ s (RFC 7518 §3.4), as the key is. */
  readonly signature: Buffer;
}

function signedBytes(head: Head, wallMs: number): Buffer {
  return Buffer.from(`luks-key-server audit head 1\n${head.seq}\n${toBase64url(head.hash)}\n${wallMs}\n`);
}

function hashFor(key: KeyObject): 'sha256' | null {
  return key.asymmetricKeyType === 'ec' ? 'sha256' : null;
}

/** SHA-256 of the SubjectPublicKeyInfo (RFC 5280 §4.1.2.7). */
export function signerOf(publicKey: KeyObject): Buffer {
  return hash('sha256', publicKey.export({ format: 'der', type: 'spki' }), 'buffer');
}

/** Signs heads; the signer's name is worked out once. */
export function headSigner(key: KeyObject): (head: Head, wallMs: number) => SignedHead {
  const signer = signerOf(createPublicKey(key));
  return (head, wallMs) => {
    const options = { key, dsaEncoding: 'ieee-p1363' } as const;
    const signature = sign(hashFor(key), signedBytes(head, wallMs), options);
    return { seq: head.seq, hash: head.hash, wallMs, signer, signature };
  };
}

/** @param spki SubjectPublicKeyInfo in base64url */
export function publicKeyFrom(spki: string): KeyObject {
  return createPublicKey({ key: Buffer.from(spki, 'base64url'), format: 'der', type: 'spki' });
}

/** Whether one of `keys` signed `head`. */
export function isSigned(head: SignedHead, keys: readonly KeyObject[]): boolean {
  return keys.some((key) => {
    const options = { key, dsaEncoding: 'ieee-p1363' } as const;
    if (!signerOf(key).equals(head.signer)) return false;
    return verify(hashFor(key), signedBytes(head, head.wallMs), options, head.signature);
  });
}

/** A signed head as JSON, in answers, webhooks and witness files. */
export interface HeadJson {
  readonly seq: number;
  readonly hash: string;
  readonly 'wall-ms': number;
  readonly signer: string;
  readonly signature: string;
}

export function headToJson(head: SignedHead): HeadJson {
  return {
    seq: head.seq,
    hash: toBase64url(head.hash),
    'wall-ms': head.wallMs,
    signer: toBase64url(head.signer),
    signature: toBase64url(head.signature),
  };
}

/** @returns null when `value` is not a signed head */
export function headFromJson(value: unknown): SignedHead | null {
  if (typeof value !== 'object' || value === null) return null;
  const { seq, 'wall-ms': wallMs, ...rest } = value as Record<string, unknown>;
  const [digest, signer, signature] = [rest['hash'], rest['signer'], rest['signature']].map((text) =>
    typeof text === 'string' ? fromBase64url(text) : null,
  );
  if (!Number.isSafeInteger(seq) || !Number.isSafeInteger(wallMs) || digest?.length !== 32) return null;
  if (!signer || !signature) return null;
  return { seq: Number(seq), hash: digest, wallMs: Number(wallMs), signer, signature };
}
