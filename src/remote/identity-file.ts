import { AppError, asAppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import type { Credentials } from '../creds/credentials.ts';
import { type Identity, identityFromPem } from '../identity/identity.ts';

/** Bound into the credential: one of another name does not open (systemd-creds(1), `--name=`). */
export const CREDENTIAL_NAME = 'fetch-luks-key-identity';

/**
 * This machine's identity towards one server: PEM in a credential that systemd-creds has encrypted to the TPM, or as it
 * is. It is opened when it is needed, and not by the unit, so that its failure does not take other pins along.
 * @throws AppError `bad-config` (absent, damaged, readable for others), `unavailable` (the TPM does not open it),
 *   `tool-missing`, `stopped`
 */
export async function readIdentityFile(
  path: string,
  { files, credentials }: { readonly files: Files; readonly credentials: Credentials },
  signal: AbortSignal,
): Promise<Identity> {
  const bytes = await files.read(path, limits.identityBytes);
  if (bytes === null) {
    throw new AppError('bad-config', `${path}: no such file`, { hint: 'join the server again' });
  }
  if (isPlain(bytes)) {
    const mode = (await files.mode(path)) ?? 0;
    if ((mode & 0o077) !== 0) {
      throw new AppError('bad-config', `${path}: expected mode 0600, got 0${mode.toString(8)}`, {
        hint: 'it holds a private key: who else could read it may have it',
      });
    }
    return identityFromPem(bytes, path);
  }
  using pem = await decrypted(bytes, path, credentials, signal);
  return identityFromPem(pem.reveal(), path);
}

/** Whether the file's own bytes say that nothing protects it. */
export function isPlain(bytes: Buffer): boolean {
  return bytes.subarray(0, 11).toString('latin1') === '-----BEGIN ';
}

async function decrypted(
  credential: Buffer,
  path: string,
  credentials: Credentials,
  signal: AbortSignal,
): Promise<Secret> {
  try {
    return await credentials.decrypt(credential, CREDENTIAL_NAME, signal);
  } catch (thrown) {
    const { code, message } = asAppError(thrown);
    if (code === 'stopped' || code === 'tool-missing') throw thrown;
    // Whatever it is, other pins may do without.
    throw new AppError('unavailable', `${path}: ${message}`, {
      hint: 'encrypted by another TPM? then join the server again',
      cause: thrown,
    });
  }
}

/**
 * To which PCRs: none, so that an update does not lose it. systemd 252 writes such a credential and then cannot read it
 * ("TPM2 PCR bank invalid or not supported"); there it is PCR 16, for debugging, which nobody extends at boot (TCG PC
 * Client Platform TPM Profile, PCR attributes).
 */
const PCRS = ['', '16'];

/**
 * Encrypts to this machine's TPM, in any boot state.
 * @returns what to keep in the file: it was decrypted once
 * @throws AppError `unavailable` when the TPM cannot, `tool-missing`, `stopped`
 */
export async function encryptIdentity(
  pem: Buffer,
  credentials: Credentials,
  signal: AbortSignal,
): Promise<Buffer> {
  using secret = Secret.takeFrom(Buffer.from(pem));
  let failure: unknown;
  for (const pcrs of PCRS) {
    const options = { name: CREDENTIAL_NAME, key: 'tpm2', pcrs, notAfter: null } as const;
    const credential = await credentials.encrypt(secret, options, signal);
    try {
      using again = await credentials.decrypt(credential, CREDENTIAL_NAME, signal);
      if (again.reveal().equals(secret.reveal())) return credential;
      failure = new AppError('unavailable', 'systemd-creds: what it encrypts does not decrypt to the same');
    } catch (thrown) {
      failure = thrown;
    }
  }
  throw failure;
}
