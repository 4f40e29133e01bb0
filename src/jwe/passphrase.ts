import { createCipheriv, pbkdf2Sync } from 'node:crypto';
import { toBase64url } from '../base/bytes.ts';
import type { Random } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { CONTENT_KEY_BYTES, encryptCompact } from './content.ts';

const ALGORITHM = 'PBES2-HS512+A256KW';
const SALT_BYTES = 16;
/** As many as jose(1) takes: more, and it refuses them (its answer to CVE-2023-50967). */
const ITERATIONS = 32_768;
/** RFC 3394 §2.2.3.1. */
const WRAP_IV = Buffer.alloc(8, 0xa6);

/** A JWE in compact serialization that a passphrase opens, here or by jose(1) (RFC 7518 §4.8, §5.3). */
export function encryptToPassphrase(passphrase: Secret, plaintext: Secret, random: Random): string {
  const input = random.bytes(SALT_BYTES);
  const salt = Buffer.concat([Buffer.from(`${ALGORITHM}\0`), input]);
  using wrapping = Secret.takeFrom(pbkdf2Sync(passphrase.reveal(), salt, ITERATIONS, 32, 'sha512'));
  using contentKey = Secret.takeFrom(random.bytes(CONTENT_KEY_BYTES));
  const cipher = createCipheriv('id-aes256-wrap', wrapping.reveal(), WRAP_IV);
  const wrapped = Buffer.concat([cipher.update(contentKey.reveal()), cipher.final()]);
  const header = { alg: ALGORITHM, p2s: toBase64url(input), p2c: ITERATIONS };
  const [start, , ...rest] = encryptCompact(header, contentKey, plaintext, random).split('.');
  return [start, toBase64url(wrapped), ...rest].join('.');
}

/** `jose jwe dec -p` reads no further than the first character that C's isgraph(3) says no to. */
export function isTakenAtJosesPrompt(passphrase: Secret): boolean {
  return passphrase.reveal().every((byte) => byte > 0x20 && byte < 0x7f);
}
