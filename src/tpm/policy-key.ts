import { createHash, createPublicKey, verify } from 'node:crypto';
import { toBase64url } from '../base/bytes.ts';

/**
 * The key that signs PCR policies, as systemd-measure(1) and ukify(1) take it: RSA of 2048 bits, exponent 65537, which
 * every TPM has. Such keys differ in the modulus alone.
 */
export interface PolicyKey {
  /** 256 bytes, the highest bit set. */
  readonly modulus: Buffer;
}

const MODULUS_BYTES = 256;

/** @returns null when it is no modulus of 2048 bits */
export function policyKey(modulus: Buffer): PolicyKey | null {
  return modulus.length === MODULUS_BYTES && ((modulus[0] ?? 0) & 0x80) !== 0 ? { modulus } : null;
}

/**
 * TPMT_PUBLIC up to the modulus (TPM 2.0 Part 2 §12.2.4): type RSA, name algorithm SHA-256, attributes userWithAuth |
 * decrypt | sign, no policy, no symmetric algorithm, no scheme, 2048 bits, exponent 65537, 256 bytes. It is what
 * `tpm2_loadexternal -G rsa` makes of a PEM file, so that the key's name can be had without us.
 */
const TEMPLATE = Buffer.from('0001000b000600400000001000100800000100010100', 'hex');

/** TPM2B_PUBLIC, as `tpm2_loadexternal -u` takes it. */
export function publicAreaOf({ modulus }: PolicyKey): Buffer {
  const size = Buffer.alloc(2);
  size.writeUInt16BE(TEMPLATE.length + MODULUS_BYTES);
  return Buffer.concat([size, TEMPLATE, modulus]);
}

/** Name algorithm, and the digest of the public area by it (TPM 2.0 Part 1 §16). */
export function nameOf(key: PolicyKey): Buffer {
  const digest = createHash('sha256').update(publicAreaOf(key).subarray(2)).digest();
  return Buffer.concat([Buffer.from('000b', 'hex'), digest]);
}

/** RSAPublicKey (RFC 8017 §A.1.1) up to the modulus, whose highest bit makes a zero byte necessary, and the exponent. */
const DER_BEFORE = Buffer.from('3082010a0282010100', 'hex');
const DER_AFTER = Buffer.from('0203010001', 'hex');

/** `pkfp` of tpm2-pcr-signature.json: SHA-256 of RSAPublicKey in DER, in hexadecimal. */
export function fingerprintOf({ modulus }: PolicyKey): string {
  return createHash('sha256').update(DER_BEFORE).update(modulus).update(DER_AFTER).digest('hex');
}

/** What the TPM finds out too, when it is asked to open. @param signature RSASSA-PKCS1-v1_5, SHA-256 */
export function hasSigned({ modulus }: PolicyKey, policy: Buffer, signature: Buffer): boolean {
  const jwk = { kty: 'RSA', n: toBase64url(modulus), e: 'AQAB' };
  return verify('sha256', policy, createPublicKey({ key: jwk, format: 'jwk' }), signature);
}

/** What the key signs to approve of a policy, with an empty policyRef (TPM 2.0 Part 3 §23.16): SHA-256 of its digest. */
export function signedDigest(policy: Buffer): Buffer {
  return createHash('sha256').update(policy).digest();
}
