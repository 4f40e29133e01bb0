import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { type Identity, identityFromPem } from '../identity/identity.ts';
import { isPlain } from '../protection/stored.ts';
import { unprotect } from '../protection/unprotect.ts';
import type { ProtectionWorld } from '../protection/world.ts';

/** Bound into the encrypted credential that earlier versions kept it in (systemd-creds(1), `--name=`). */
const CREDENTIAL_NAME = 'fetch-luks-key-identity';

/**
 * This machine's identity towards one server: PEM, protected as the file's own bytes say. It is opened when it is
 * needed, and not by the unit, so that its failure does not take other pins along.
 * @throws AppError `bad-config` (absent, readable for others), `foreign-tpm` (the TPM was changed), `damaged`,
 *   `unavailable` (the TPM does not open it now), `tool-missing`, `stopped`
 */
export async function readIdentityFile(
  path: string,
  world: ProtectionWorld,
  signal: AbortSignal,
): Promise<Identity> {
  const bytes = await world.files.read(path, limits.identityBytes);
  if (bytes === null) {
    throw new AppError('bad-config', `${path}: no such file`, { hint: 'join the server again' });
  }
  const mode = isPlain(bytes) ? ((await world.files.mode(path)) ?? 0) : 0;
  if ((mode & 0o077) !== 0) {
    throw new AppError('bad-config', `${path}: expected mode 0600, got 0${mode.toString(8)}`, {
      hint: 'it holds a private key: who else could read it may have it',
    });
  }
  using pem = await unprotect(path, bytes, CREDENTIAL_NAME, world, signal);
  return identityFromPem(pem.reveal(), path);
}
