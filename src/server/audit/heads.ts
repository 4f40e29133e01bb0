import { createPublicKey, type KeyObject } from 'node:crypto';
import { fromBase64url, toBase64url } from '../../base/bytes.ts';
import { keyPinOf } from '../../base/key-pin.ts';
import { isSignatureOf, signatureOf } from '../../base/signature.ts';
import type { Head } from './chain.ts';

/** A head with the server's word for it. */
export interface SignedHead extends Head {
  /** When it was signed: milliseconds since 1970 (UTC), only shown. */
  readonly wallMs: number;
  /** SHA-256 of the signing key's SubjectPublicKeyInfo. */
  readonly signer: Buffer;
  /** See `signatureOf`. */
  readonly signature: Buffer;
}

function signedBytes(head: Head, wallMs: number): Buffer {
  return Buffer.from(`luks-key-server audit head 1\n${head.seq}\n${toBase64url(head.hash)}\n${wallMs}\n`);
}

/** Signs heads; the signer's name is worked out once. */
export function headSigner(key: KeyObject): (head: Head, wallMs: number) => SignedHead {
  const signer = keyPinOf(createPublicKey(key));
  return (head, wallMs) => {
    const signature = signatureOf(signedBytes(head, wallMs), key);
    return { seq: head.seq, hash: head.hash, wallMs, signer, signature };
  };
}

/** Whether one of `keys` signed `head`. */
export function isSigned(head: SignedHead, keys: readonly KeyObject[]): boolean {
  const bytes = signedBytes(head, head.wallMs);
  return keys.some((key) => keyPinOf(key).equals(head.signer) && isSignatureOf(bytes, head.signature, key));
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
