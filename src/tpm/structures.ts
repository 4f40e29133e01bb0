import { hashes } from './pcrs.ts';

/**
 * The TPM's and tpm2-tools' binary forms, read as far as something depends on them. All numbers are big-endian.
 * Each reader gives null for what does not have the form: the bytes may come from a hostile header.
 */

/** Where the standard storage key is kept (TCG TPM v2.0 Provisioning Guidance §7.8, table 2). */
export const SRK_HANDLE = 0x81000001;

/**
 * TPMT_PUBLIC of the standard ECC storage key up to `unique` (TPM 2.0 Part 2 §12.2.4): type ECC, name algorithm
 * SHA-256, attributes fixedTPM | fixedParent | sensitiveDataOrigin | userWithAuth | noDA | restricted | decrypt, no
 * policy, AES-128-CFB, no scheme, NIST P-256, no KDF.
 */
const SRK_TEMPLATE = Buffer.from('0023000b000304720000000600800043001000030010', 'hex');

/** The storage key's public part, which a salted session is encrypted to. */
export interface StorageKey {
  /** ESYS_TR in the serialization of libtss2-esys, as `tpm2_readpublic -t` writes and `-c` reads it. */
  readonly serialized: Buffer;
  /** TPM2B_PUBLIC. */
  readonly publicArea: Buffer;
}

/**
 * Handle, name, resource type and TPM2B_PUBLIC. The handle must be the storage key's and the public part the standard
 * template's; then whatever else is at the handle fails the session, which is salted with this public part, and a name
 * that is not this public part's fails every command's authorization (TPM 2.0 Part 1 §18.7).
 */
export function parseStorageKey(serialized: Buffer): StorageKey | null {
  const KEY_RESOURCE = 1;
  const nameBytes = 2 + hashes.sha256.bytes;
  const publicAt = 4 + 2 + nameBytes + 4;
  if (serialized.length < publicAt + 2) return null;
  const publicArea = serialized.subarray(publicAt);
  const fixed =
    serialized.readUInt32BE(0) === SRK_HANDLE &&
    serialized.readUInt16BE(4) === nameBytes &&
    serialized.readUInt32BE(6 + nameBytes) === KEY_RESOURCE;
  if (!fixed || !isStandardStorageKey(publicArea)) return null;
  return { serialized, publicArea };
}

function isStandardStorageKey(publicArea: Buffer): boolean {
  const body = sized(publicArea);
  if (body === null || !body.subarray(0, SRK_TEMPLATE.length).equals(SRK_TEMPLATE)) return false;
  // TPMS_ECC_POINT: two sized coordinates of P-256.
  let rest = body.subarray(SRK_TEMPLATE.length);
  for (const _ of ['x', 'y']) {
    if (rest.length < 2) return false;
    const length = rest.readUInt16BE(0);
    if (length === 0 || length > 32 || rest.length < 2 + length) return false;
    rest = rest.subarray(2 + length);
  }
  return rest.length === 0;
}

/** The content of a TPM2B: two bytes of length, then exactly so many. */
function sized(bytes: Buffer): Buffer | null {
  if (bytes.length < 2 || bytes.readUInt16BE(0) !== bytes.length - 2) return null;
  return bytes.subarray(2);
}

/** The largest TPM2B_PUBLIC or TPM2B_PRIVATE of a sealed object; those of 128 bytes of data are below 300. */
const SEALED_BYTES = 1024;

/** TPM2B_PUBLIC of a sealed object: type TPM_ALG_KEYEDHASH. */
export function isSealedPublic(bytes: Buffer): boolean {
  const KEYEDHASH = 0x0008;
  const body = sized(bytes);
  return (
    body !== null && bytes.length <= SEALED_BYTES && body.length >= 2 && body.readUInt16BE(0) === KEYEDHASH
  );
}

/**
 * authPolicy of a TPM2B_PUBLIC (TPM 2.0 Part 2 §12.2.4), behind its size, type, name algorithm and attributes.
 * @returns null when it has none, or is cut
 */
export function policyIn(publicArea: Buffer): Buffer | null {
  const at = 2 + 2 + 2 + 4;
  if (publicArea.length < at + 2) return null;
  const policy = publicArea.subarray(at + 2, at + 2 + publicArea.readUInt16BE(at));
  return policy.length === 0 ? null : policy;
}

/** TPM2B_PRIVATE: encrypted, so that nothing in it can be read here. */
export function isSealedPrivate(bytes: Buffer): boolean {
  return sized(bytes) !== null && bytes.length > 2 && bytes.length <= SEALED_BYTES;
}

/**
 * The handle in the file that `tpm2_startauthsession -S` writes: magic, version, session type, hash, then a saved
 * context of magic, version, hierarchy and handle.
 * @returns null while the file is empty or cut
 */
export function savedSessionHandle(file: Buffer): number | null {
  const MAGIC = 0xbadcc0de;
  const contextAt = 4 + 4 + 1 + 2;
  const handleAt = contextAt + 4 + 4 + 4;
  if (file.length < handleAt + 4) return null;
  if (file.readUInt32BE(0) !== MAGIC || file.readUInt32BE(contextAt) !== MAGIC) return null;
  const handle = file.readUInt32BE(handleAt);
  return isSessionHandle(handle) ? handle : null;
}

/** Handles of HMAC and policy sessions (TPM 2.0 Part 2 §7.2: TPM_HT_HMAC_SESSION, TPM_HT_POLICY_SESSION). */
export function isSessionHandle(handle: number): boolean {
  const type = handle >>> 24;
  return type === 0x02 || type === 0x03;
}
