import { AppError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';

export function damaged(path: string, what: string): AppError {
  return new AppError('damaged', `${path}: LUKS header: ${what}`, {
    hint: 'restore it from a backup made by cryptsetup luksHeaderBackup',
  });
}

/** A value of the header, which may be a stranger's. */
export function quoted(value: unknown): string {
  return printable(JSON.stringify(value) ?? 'nothing');
}

/** @param cipher as the header has it; null = none at all */
export function notEncrypted(path: string, what: string, cipher: string | null): AppError {
  const got = cipher === null ? 'none' : quoted(cipher);
  return new AppError('refused', `${path}: LUKS header: ${what}: expected a cipher, got ${got}`, {
    hint: 'if you did not make it so, somebody changed this disk: what is written to it is not encrypted',
  });
}

/**
 * The kernel's `cipher_null` in any of its spellings (`cipher_null-ecb`, `capi:ecb(cipher_null)-plain`), and
 * cryptsetup's own `null`. No real cipher has the word in its name.
 */
export function isNullCipher(cipher: string): boolean {
  return /null/i.test(cipher);
}
