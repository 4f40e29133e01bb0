import { createCipheriv, randomBytes } from 'node:crypto';
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { outputOf } from './command.ts';

/**
 * LUKS2 images with something in them, made without device mapper: the volume key is ours, so that what `cryptsetup
 * luksFormat` leaves empty can be filled by encrypting it here as dm-crypt would.
 */

/** cryptsetup's default cipher, aes-xts-plain64 with 512 bits of key. */
const VOLUME_KEY_BYTES = 64;
const SECTOR_BYTES = 4096;
/** dm-crypt counts plain64's initial vectors in these, whatever the sector size. */
const VECTOR_UNIT_BYTES = 512;
const CHEAP = ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000', '--disable-locks'];

export interface Volume {
  readonly image: string;
  /** What opens it: a text of 512 random bits, as README makes one. */
  readonly key: Buffer;
}

/** @param content of the decrypted device, a multiple of 4096 bytes */
export function makeVolume(image: string, content: Buffer): Volume {
  const key = Buffer.from(randomBytes(64).toString('base64'));
  const volumeKey = randomBytes(VOLUME_KEY_BYTES);
  writeFileSync(image, '');
  truncateSync(image, 16 * 2 ** 20 + content.length);
  writeFileSync(`${image}.key`, key);
  writeFileSync(`${image}.volume-key`, volumeKey);
  const options = [
    '--type',
    'luks2',
    '--sector-size',
    String(SECTOR_BYTES),
    '--offset',
    String(OFFSET / 512),
  ];
  const keys = ['--volume-key-file', `${image}.volume-key`, '--key-size', String(8 * VOLUME_KEY_BYTES)];
  const format = ['cryptsetup', 'luksFormat', '-q', ...options, ...keys, ...CHEAP];
  outputOf(`making the volume ${image}`, [...format, image, `${image}.key`]);
  writeFileSync(
    image,
    Buffer.concat([readFileSync(image).subarray(0, OFFSET), encrypted(content, volumeKey)]),
  );
  rmSync(`${image}.volume-key`);
  return { image, key };
}

/** Where the payload begins: what luksFormat takes by itself. */
const OFFSET = 16 * 2 ** 20;

function encrypted(content: Buffer, volumeKey: Buffer): Buffer {
  const output = Buffer.alloc(content.length);
  for (let at = 0; at < content.length; at += SECTOR_BYTES) {
    const vector = Buffer.alloc(16);
    vector.writeBigUInt64LE(BigInt(at / VECTOR_UNIT_BYTES));
    const cipher = createCipheriv('aes-256-xts', volumeKey, vector);
    cipher.update(content.subarray(at, at + SECTOR_BYTES)).copy(output, at);
    cipher.final();
  }
  return output;
}

/** An empty ext4 file system. @param folder for what is needed meanwhile */
export function fileSystem(folder: string, megabytes: number): Buffer {
  const image = join(folder, 'ext4');
  const options = ['-q', '-F', '-t', 'ext4', '-b', String(SECTOR_BYTES)];
  outputOf(`making the file system ${image}`, ['mke2fs', ...options, image, `${megabytes}M`]);
  const content = readFileSync(image);
  rmSync(image);
  return content;
}
