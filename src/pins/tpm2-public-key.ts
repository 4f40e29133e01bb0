import { createPublicKey, type KeyObject } from 'node:crypto';
import { fromBase64url } from '../base/bytes.ts';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import { policyKey } from '../tpm/policy-key.ts';
import type { SignedPcrs } from '../tpm/signed.ts';
import type { Tpm2Config } from './tpm2-config.ts';

/** @throws AppError `bad-config` when it is no key that a TPM checks policies with */
export async function readPublicKey(
  { path, selection }: NonNullable<Tpm2Config['publicKey']>,
  files: Pick<Files, 'read'>,
): Promise<SignedPcrs> {
  const pem = await files.read(path, limits.publicKeyBytes);
  if (pem === null) throw new AppError('bad-config', `pin tpm2: public_key: ${path}: no such file`);
  const jwk = parsed(pem)?.export({ format: 'jwk' });
  const modulus = jwk?.kty === 'RSA' && jwk.e === 'AQAB' ? fromBase64url(jwk.n ?? '') : null;
  const key = modulus === null ? null : policyKey(modulus);
  if (key !== null) return { key, selection };
  throw new AppError(
    'bad-config',
    `pin tpm2: public_key: ${path}: expected an RSA public key of 2048 bits with exponent 65537, as PEM`,
    { hint: `openssl genrsa -out private.pem 2048 && openssl rsa -in private.pem -pubout -out ${path}` },
  );
}

/** A private key is no public key, though OpenSSL would take one for the other: it does not belong on this machine. */
function parsed(pem: Buffer): KeyObject | null {
  if (!pem.includes('-----BEGIN PUBLIC KEY-----')) return null;
  try {
    return createPublicKey(pem);
  } catch {
    return null;
  }
}
