import { fromBase64url } from '../base/bytes.ts';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { printable } from '../base/printable.ts';

/** A JWE whose parts have the right shape (RFC 7516 §7.1); nothing in it is authenticated yet. */
export interface Jwe {
  /** The protected header as it was written: also the additional authenticated data. */
  readonly protectedText: string;
  readonly header: Readonly<Record<string, unknown>>;
  readonly iv: Buffer;
  readonly ciphertext: Buffer;
  readonly tag: Buffer;
}

/** A256GCM's sizes in bytes (RFC 7518 §5.3). */
const IV_BYTES = 12;
const TAG_BYTES = 16;

export function damaged(what: string, hint?: string): AppError {
  return new AppError('damaged', `sealed key: ${what}`, hint === undefined ? {} : { hint });
}

/**
 * Reads the compact serialization; white space around it is allowed, as a file may end in a newline.
 * `encrypted_key` must be empty: Clevis' pins use `dir` and `ECDH-ES` only (RFC 7516 §5.2 steps 10 and 11).
 * @throws AppError `damaged`
 */
export function parseCompact(text: string): Jwe {
  if (text.length > limits.sealedKeyBytes) {
    throw damaged(`expected at most ${limits.sealedKeyBytes} bytes, got ${text.length}`);
  }
  const parts = text.trim().split('.');
  const [protectedText, encryptedKey, ivText, ciphertextText, tagText] = parts;
  if (
    parts.length !== 5 ||
    protectedText === undefined ||
    ivText === undefined ||
    ciphertextText === undefined ||
    tagText === undefined
  ) {
    throw damaged(
      `expected five parts separated by dots (JWE compact serialization), got ${text.trim() === '' ? 'nothing' : parts.length}`,
    );
  }
  if (encryptedKey !== '') throw damaged('expected an empty encrypted key (part 2), got one');
  const header = parseHeader(protectedText);
  if (header['enc'] !== 'A256GCM') {
    throw damaged(`header field enc: expected "A256GCM", got ${shown(header['enc'])}`);
  }
  // Extensions that change what the content is, and that must be refused when they are not understood (RFC 7516 §4.1.3,
  // §4.1.13).
  for (const extension of ['zip', 'crit']) {
    if (header[extension] !== undefined) throw damaged(`header field ${extension}: expected none, got one`);
  }
  const iv = part(ivText, 'initialization vector (part 3)');
  const ciphertext = part(ciphertextText, 'ciphertext (part 4)');
  const tag = part(tagText, 'tag (part 5)');
  if (iv.length !== IV_BYTES)
    throw damaged(`initialization vector: expected ${IV_BYTES} bytes, got ${iv.length}`);
  if (tag.length !== TAG_BYTES) throw damaged(`tag: expected ${TAG_BYTES} bytes, got ${tag.length}`);
  return { protectedText, header, iv, ciphertext, tag };
}

function part(text: string, name: string): Buffer {
  const bytes = fromBase64url(text);
  if (bytes === null) throw damaged(`${name}: expected base64url`);
  return bytes;
}

function parseHeader(protectedText: string): Record<string, unknown> {
  const bytes = part(protectedText, 'protected header (part 1)');
  if (bytes.length > limits.headerBytes) {
    throw damaged(`protected header: expected at most ${limits.headerBytes} bytes, got ${bytes.length}`);
  }
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw damaged('protected header (part 1): expected JSON');
  }
  if (!isObject(header)) throw damaged('protected header (part 1): expected a JSON object');
  return header;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A hostile value, short enough and plain enough for one line of a journal. */
export function shown(value: unknown): string {
  const text = value === undefined ? 'nothing' : printable(JSON.stringify(value));
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
