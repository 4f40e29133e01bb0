import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import type { Target } from './target.ts';

/** Where systemd looks for VOLUME.key when crypttab names no key file (crypttab(5)). */
const FOLDERS = ['/etc/cryptsetup-keys.d', '/run/cryptsetup-keys.d'];

/** The path of what crypttab opens the volume with; null: nothing but a passphrase. @throws AppError `bad-config` */
export async function keyFileOf({ volume, entry }: Target, files: Files): Promise<string | null> {
  if (entry === null || entry.keyFile !== null) return entry?.keyFile ?? null;
  for (const folder of FOLDERS) {
    const path = `${folder}/${volume}.key`;
    if ((await files.mode(path)) !== null) return path;
  }
  return null;
}

/**
 * The key in a key file, as systemd reads it: `keyfile-size=` bytes, or all, from `keyfile-offset=` on.
 * @throws AppError `bad-config` (an option that is no number; longer than a key may be), `unavailable`
 */
export async function readKeyFile(path: string, { entry }: Target, files: Files): Promise<Secret> {
  const offset = bytesOf('keyfile-offset', entry?.options ?? []) ?? 0;
  const size = bytesOf('keyfile-size', entry?.options ?? []);
  const wanted = size ?? limits.keyBytes + 1;
  const key =
    wanted > limits.keyBytes + 1 ? null : Secret.takeFrom(await files.readRange(path, offset, wanted));
  if (key !== null && key.length <= limits.keyBytes && (size === null || key.length === size)) return key;
  key?.wipe();
  const expected = size === null ? `at most ${limits.keyBytes}` : String(size);
  throw new AppError('bad-config', `${path}: expected ${expected} bytes from ${offset} on`, {
    hint: 'give what opens the volume with --unlock-key-file',
  });
}

/** Of two the last counts. */
function bytesOf(name: string, options: readonly string[]): number | null {
  const value = options.findLast((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);
  if (value === undefined) return null;
  const bytes = Number(value);
  if (/^\d+$/.test(value) && Number.isSafeInteger(bytes)) return bytes;
  throw new AppError('bad-config', `${name}=: expected a number of bytes, got ${JSON.stringify(value)}`);
}
