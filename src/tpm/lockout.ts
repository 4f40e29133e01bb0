import { AppError } from '../base/errors.ts';

/**
 * The TPM refuses keys that have dictionary-attack protection, after too many wrong passwords (TPM 2.0 Part 1 §19.8).
 * It forgives one failure per recovery interval, and a single one less ends the lockout.
 * @param properties what `tpm2_getcap properties-variable` prints
 */
export function lockoutFailure(properties: string): AppError {
  const failures = property(properties, 'TPM2_PT_LOCKOUT_COUNTER');
  const allowed = property(properties, 'TPM2_PT_MAX_AUTH_FAIL');
  const intervalSeconds = property(properties, 'TPM2_PT_LOCKOUT_INTERVAL');
  const count =
    failures === null ? '' : ` after ${failures} failed authorizations of at most ${allowed ?? '?'}`;
  const ends =
    intervalSeconds === null || intervalSeconds === 0
      ? 'it does not end by itself'
      : `it ends within ${intervalSeconds} s`;
  return new AppError('unavailable', `the TPM is in lockout${count}: ${ends}`, {
    hint: 'tpm2_dictionarylockout --clear-lockout ends it at once',
  });
}

/** `NAME: 0x1F`, in hexadecimal. */
export function property(properties: string, name: string): number | null {
  const found = new RegExp(`^\\s*${name}: 0x([0-9A-Fa-f]{1,8})\\s*$`, 'm').exec(properties);
  return found?.[1] === undefined ? null : Number.parseInt(found[1], 16);
}
