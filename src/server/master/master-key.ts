import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { AppError } from '../../base/errors.ts';
import { Secret } from '../../base/secret.ts';

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * One version of the server's master key. What it seals (AES-256-GCM) opens only in the context that it was sealed
 * in; what it marks (HMAC-SHA256) nobody else can have written. Each use has a key of its own (HKDF, RFC 5869).
 */
export class MasterKey implements Disposable {
  readonly #sealing: Secret;
  readonly #marking: Secret;
  /** Tells one master key from another, and nothing else about it. */
  readonly proof: Buffer;

  /** @throws AppError `bad-config` unless `bytes` are 32; they are not kept */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== KEY_BYTES) {
      throw new AppError('bad-config', `master key: expected ${KEY_BYTES} bytes, got ${bytes.length}`);
    }
    const derive = (use: string) =>
      Buffer.from(hkdfSync('sha256', bytes, '', `luks-key-server master ${use}`, KEY_BYTES));
    this.#sealing = new Secret(derive('sealing'));
    this.#marking = new Secret(derive('marking'));
    this.proof = derive('proof');
  }

  /** @returns nonce (12 bytes), ciphertext, tag (16 bytes) */
  seal(plain: Uint8Array, context: Uint8Array): Buffer {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#sealing.reveal(), nonce).setAAD(context);
    return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  }

  /** @throws AppError `damaged`: other bytes, another context or another master key */
  open(sealed: Uint8Array, context: Uint8Array): Secret {
    const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
    if (bytes.length < NONCE_BYTES + TAG_BYTES)
      throw new AppError('damaged', 'sealed under the master key: cut off');
    const decipher = createDecipheriv('aes-256-gcm', this.#sealing.reveal(), bytes.subarray(0, NONCE_BYTES))
      .setAAD(context)
      .setAuthTag(bytes.subarray(-TAG_BYTES));
    const plain = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
    try {
      decipher.final();
    } catch (cause) {
      plain.fill(0);
      throw new AppError('damaged', 'sealed under the master key: not what was sealed', { cause });
    }
    return Secret.takeFrom(plain);
  }

  /** 32 bytes that only this master key gives for `context`. */
  mark(context: Uint8Array): Buffer {
    return createHmac('sha256', this.#marking.reveal()).update(context).digest();
  }

  isMark(mark: Uint8Array, context: Uint8Array): boolean {
    const own = this.mark(context);
    return mark.length === own.length && timingSafeEqual(mark, own);
  }

  [Symbol.dispose](): void {
    this.#sealing.wipe();
    this.#marking.wipe();
  }
}
