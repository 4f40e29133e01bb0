import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files, Runner } from '../base/ports.ts';
import { type Identity, identityFromPem } from '../identity/identity.ts';

/** Bound into the credential: one of another name does not open (systemd-creds(1), `--name=`). */
export const CREDENTIAL_NAME = 'fetch-luks-key-identity';
const SYSTEMD_CREDS = '/usr/bin/systemd-creds';

/**
 * This machine's identity towards one server: PEM in a credential that systemd-creds has encrypted to the TPM, or as it
 * is. It is opened when it is needed, and not by the unit, so that its failure does not take other pins along.
 * @throws AppError `bad-config` (absent, damaged, readable for others), `unavailable` (the TPM does not open it),
 *   `tool-missing`, `stopped`
 */
export async function readIdentityFile(
  path: string,
  { files, runner }: { readonly files: Files; readonly runner: Runner },
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
  const pem = await decrypted(bytes, path, runner, signal);
  try {
    return identityFromPem(pem, path);
  } finally {
    pem.fill(0);
  }
}

/** Whether the file's own bytes say that nothing protects it. */
export function isPlain(bytes: Buffer): boolean {
  return bytes.subarray(0, 11).toString('latin1') === '-----BEGIN ';
}

async function decrypted(
  credential: Buffer,
  path: string,
  runner: Runner,
  signal: AbortSignal,
): Promise<Buffer> {
  const { status, stdout, stderr } = await runner.run(
    SYSTEMD_CREDS,
    ['decrypt', `--name=${CREDENTIAL_NAME}`, '--newline=no', '-', '-'],
    {
      stdin: credential,
      timeoutMs: limits.tpmToolTimeoutMs,
      maxOutputBytes: limits.childOutputBytes,
      signal,
    },
  );
  if (status === 0) return stdout;
  const [line = ''] = stderr.trim().split('\n').slice(-1);
  throw new AppError('unavailable', `${path}: systemd-creds: ${line}`, {
    hint: 'encrypted by another TPM? then join the server again',
  });
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
export async function encryptIdentity(pem: Buffer, runner: Runner, signal: AbortSignal): Promise<Buffer> {
  let failure: unknown;
  for (const pcrs of PCRS) {
    const credential = await encrypted(pem, pcrs, runner, signal);
    try {
      const again = await decrypted(credential, 'the new credential', runner, signal);
      const isSame = again.equals(pem);
      again.fill(0);
      if (isSame) return credential;
      failure = new AppError('unavailable', 'systemd-creds: what it encrypts does not decrypt to the same');
    } catch (thrown) {
      failure = thrown;
    }
  }
  throw failure;
}

async function encrypted(pem: Buffer, pcrs: string, runner: Runner, signal: AbortSignal): Promise<Buffer> {
  const { status, stdout, stderr } = await runner.run(
    SYSTEMD_CREDS,
    ['encrypt', '--with-key=tpm2', `--tpm2-pcrs=${pcrs}`, `--name=${CREDENTIAL_NAME}`, '-', '-'],
    { stdin: pem, timeoutMs: limits.tpmToolTimeoutMs, maxOutputBytes: limits.childOutputBytes, signal },
  );
  if (status === 0) return stdout;
  const [line = ''] = stderr.trim().split('\n').slice(-1);
  throw new AppError('unavailable', `systemd-creds: ${line}`);
}
