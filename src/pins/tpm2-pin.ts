import { scrypt } from 'node:crypto';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { AskPin } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';

export const PIN_SALT_BYTES = 16;

/**
 * RFC 7914, the work of 80 MiB in 8 (OWASP's "Password Storage Cheat Sheet" has this among its choices): a handler is
 * small. The TPM itself allows few guesses, but what the tools send over its bus to prove the password is enough to try
 * passwords by.
 */
const SCRYPT = { N: 2 ** 13, r: 8, p: 10, maxmem: 16 * 1024 * 1024 };
/** As base64url 32 bytes, which is as long as a password of an object named by SHA-256 can be. */
const PASSWORD_BYTES = 24;

/** What a TPM object's password is, of the PIN that a person types. */
export async function passwordOf(pin: Secret, salt: Buffer): Promise<Secret> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  scrypt(pin.reveal(), salt, PASSWORD_BYTES, SCRYPT, (error, bytes) =>
    error === null ? resolve(bytes) : reject(error),
  );
  const bytes = await promise;
  const password = Secret.takeFrom(Buffer.from(bytes.toString('base64url')));
  bytes.fill(0);
  return password;
}

/**
 * Asks for the PIN until `work` takes it.
 * @param work null: the TPM does not take it
 * @throws AppError `refused` when it does not after three tries; what `ask` and `work` throw
 */
export async function withPin<T>(
  ask: AskPin,
  salt: Buffer,
  signal: AbortSignal,
  work: (password: Secret) => Promise<T | null>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    using pin = await ask(attempt, signal, salt);
    using password = await passwordOf(pin, salt);
    const done = await work(password);
    if (done !== null) return done;
    if (attempt < limits.pinTries) continue;
    throw new AppError('refused', `tpm2: wrong PIN, ${attempt} times`, {
      hint: 'the TPM counts them, and locks itself after too many: fetch-luks-key doctor tells the count',
    });
  }
}
