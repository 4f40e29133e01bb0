import { AppError } from '../../base/errors.ts';
import type { DurableFiles, Files, Random } from '../../base/ports.ts';
import { type Identity, identityFromPem, identityToPem, makeIdentity } from '../../identity/identity.ts';

const MAX_BYTES = 64 * 1024;

/**
 * The server's own key and certificate, made at the first start. The file is whole or not there: a machine that has
 * seen a key once expects it for ever.
 * @param path of a file of mode 0600, in a folder of our own
 * @throws AppError `bad-config` (not ours to read, readable for others, damaged), `unavailable` (cannot be written)
 */
export async function ownIdentity(
  path: string,
  commonName: string,
  { files, durable, random }: { files: Files; durable: DurableFiles; random: Random },
): Promise<Identity> {
  const present = await readIdentity(path, files);
  if (present !== null) return present;
  const made = makeIdentity(commonName, random);
  const temporary = `${path}.new`;
  durable.create(temporary);
  durable.append(temporary, identityToPem(made).toString().trimEnd().split('\n'));
  durable.rename(temporary, path);
  return made;
}

/** @returns null when there is no such file @throws AppError `bad-config` */
async function readIdentity(path: string, files: Files): Promise<Identity | null> {
  const pem = await files.read(path, MAX_BYTES);
  if (pem === null) return null;
  const mode = (await files.mode(path)) ?? 0;
  if ((mode & 0o077) !== 0) {
    throw new AppError(
      'bad-config',
      `${path}: expected mode 0600, got ${mode.toString(8).padStart(4, '0')}`,
      {
        hint: 'it holds a private key: who else could read it may have it',
      },
    );
  }
  return identityFromPem(pem, path);
}
