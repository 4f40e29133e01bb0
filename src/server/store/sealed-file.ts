import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { AppError } from '../../base/errors.ts';
import { Secret } from '../../base/secret.ts';
import { serverLimits } from '../../base/server-limits.ts';

/**
 * A file sealed to a passphrase: `MAGIC`, 16 bytes of salt, then chunks of AES-256-GCM, each of 64 KiB and its tag
 * (16 bytes), the last one shorter. A chunk's nonce is its number (11 bytes, big endian) and 1 for the last, 0 for
 * others, so that none can be left out, moved or cut off (STREAM, Hoang et al. 2015, as age does).
 */
const MAGIC = Buffer.from('luks-key-server backup 1\n');
const SALT_BYTES = 16;
const TAG_BYTES = 16;
const CHUNK_BYTES = serverLimits.backupChunkBytes;
const HEAD_BYTES = MAGIC.length + SALT_BYTES;

/** RFC 7914: 128 MiB and half a second for each guess at the passphrase. */
const SCRYPT = { N: 2 ** 17, r: 8, p: 1, maxmem: 256 * 1024 * 1024 };

function keyFrom(passphrase: Secret, salt: Uint8Array): Promise<Secret> {
  return new Promise((resolve, reject) => {
    scrypt(passphrase.reveal(), salt, 32, SCRYPT, (error, key) =>
      error ? reject(error) : resolve(new Secret(key)),
    );
  });
}

function nonceOf(chunk: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(chunk, 5, 6);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

/** Seals what it is given piece by piece, and hands on each sealed chunk. */
export class SealedWriter implements Disposable {
  readonly #key: Secret;
  readonly #write: (sealed: Buffer) => Promise<void>;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #chunks = 0;

  private constructor(key: Secret, write: (sealed: Buffer) => Promise<void>) {
    this.#key = key;
    this.#write = write;
  }

  static async start(passphrase: Secret, write: (sealed: Buffer) => Promise<void>): Promise<SealedWriter> {
    const salt = randomBytes(SALT_BYTES);
    const writer = new SealedWriter(await keyFrom(passphrase, salt), write);
    await write(Buffer.concat([MAGIC, salt]));
    return writer;
  }

  async add(plain: Buffer): Promise<void> {
    this.#waiting.push(plain);
    this.#waitingBytes += plain.length;
    if (this.#waitingBytes <= CHUNK_BYTES) return;
    let rest = Buffer.concat(this.#waiting);
    // The last chunk is known only at the end, so something is always kept back.
    for (; rest.length > CHUNK_BYTES; rest = rest.subarray(CHUNK_BYTES)) {
      await this.#write(this.#sealed(rest.subarray(0, CHUNK_BYTES), false));
    }
    this.#waiting = [rest];
    this.#waitingBytes = rest.length;
  }

  async end(): Promise<void> {
    await this.#write(this.#sealed(Buffer.concat(this.#waiting), true));
  }

  #sealed(plain: Buffer, isLast: boolean): Buffer {
    const cipher = createCipheriv('aes-256-gcm', this.#key.reveal(), nonceOf(this.#chunks++, isLast));
    return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  }

  [Symbol.dispose](): void {
    this.#key.wipe();
  }
}

/**
 * What was sealed, chunk by chunk, each authenticated. The end is authentic only once this has ended.
 * @throws AppError `damaged`: not such a file, another passphrase, changed or cut off
 */
export async function* openSealed(
  file: AsyncIterable<Uint8Array>,
  passphrase: Secret,
): AsyncGenerator<Buffer> {
  let rest = Buffer.alloc(0);
  let key: Secret | null = null;
  let chunks = 0;
  try {
    for await (const bytes of file) {
      rest = Buffer.concat([rest, bytes]);
      if (key === null && rest.length >= HEAD_BYTES) {
        if (!rest.subarray(0, MAGIC.length).equals(MAGIC)) break;
        key = await keyFrom(passphrase, rest.subarray(MAGIC.length, HEAD_BYTES));
        rest = rest.subarray(HEAD_BYTES);
      }
      for (
        ;
        key !== null && rest.length > CHUNK_BYTES + TAG_BYTES;
        rest = rest.subarray(CHUNK_BYTES + TAG_BYTES)
      ) {
        yield opened(key, rest.subarray(0, CHUNK_BYTES + TAG_BYTES), chunks++, false);
      }
    }
    if (key === null) throw new AppError('damaged', 'backup: not a backup of luks-key-server');
    yield opened(key, rest, chunks, true);
  } finally {
    key?.wipe();
  }
}

function opened(key: Secret, sealed: Buffer, chunk: number, isLast: boolean): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key.reveal(), nonceOf(chunk, isLast));
  try {
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    const plain = decipher.update(sealed.subarray(0, -TAG_BYTES));
    decipher.final();
    return plain;
  } catch (cause) {
    const what = chunk === 0 ? 'another passphrase, or changed' : 'changed, or cut off';
    throw new AppError('damaged', `backup: does not open (${what})`, { cause });
  }
}
