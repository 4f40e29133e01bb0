import { AppError } from '../base/errors.ts';
import { files } from '../os/files.ts';

/** A file that the configuration names. @throws AppError `bad-config`: no such file, unreadable, too long */
export async function givenFile(path: string, maxBytes: number): Promise<Buffer> {
  const bytes = await files.read(path, maxBytes);
  if (bytes === null) throw new AppError('bad-config', `${path}: no such file`);
  return bytes;
}

/** The same for one with a secret in it. @throws AppError `bad-config`: also when everybody can read it */
export async function givenSecret(path: string, maxBytes: number): Promise<Buffer> {
  const bytes = await givenFile(path, maxBytes);
  // A group may: Debian's ssl-cert, or that of credentials (systemd.exec(5)).
  const mode = (await files.mode(path)) ?? 0;
  if ((mode & 0o007) !== 0) throw new AppError('bad-config', `${path}: everybody can read or write it`);
  return bytes;
}
