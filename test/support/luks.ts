import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, truncateSync, writeFileSync, writeSync } from 'node:fs';

/** Real LUKS images, made fast: a sparse file of 20 MiB and a key derivation that costs nothing. */

export const PASSPHRASE = 'correct horse';
const derived = (iterations: number) => [
  ...['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', String(iterations), '--disable-locks'],
];
/** As for a random key. */
const CHEAP = derived(1000);
/** What a passphrase has is more than that, here for fun only. */
const NOT_FOR_KEYS = derived(2000);
const IMAGE_BYTES = 20 * 1024 * 1024;
const BINARY_BYTES = 4096;

export interface Image {
  readonly path: string;
  /** Path of a file with a passphrase that opens it. */
  readonly keyFile: string;
}

/** @param options of luksFormat, such as `--type luks1` */
export function makeImage(folder: string, name: string, options: readonly string[] = []): Image {
  const path = `${folder}/${name}`;
  const keyFile = `${folder}/${name}.pass`;
  writeFileSync(path, '');
  truncateSync(path, IMAGE_BYTES);
  writeFileSync(keyFile, PASSPHRASE);
  cryptsetup([
    'luksFormat',
    '-q',
    ...(options.includes('--type') ? [] : ['--type', 'luks2']),
    ...options,
    ...NOT_FOR_KEYS,
    path,
    keyFile,
  ]);
  return { path, keyFile };
}

/** A further keyslot. @param options of luksAddKey, such as `--unbound` */
export function addKeyslot(image: Image, passphrase: string, options: readonly string[] = []): void {
  const newKeyFile = `${image.path}.new`;
  writeFileSync(newKeyFile, passphrase);
  cryptsetup(['luksAddKey', '-q', ...CHEAP, '--key-file', image.keyFile, ...options, image.path, newKeyFile]);
}

export function killKeyslot(image: Image, keyslot: number): void {
  cryptsetup(['luksKillSlot', '-q', '--key-file', image.keyFile, image.path, String(keyslot)]);
}

/** @param token as `cryptsetup token import` takes it */
export function addToken(image: Image, token: Readonly<Record<string, unknown>>): void {
  cryptsetup(['token', 'import', '--json-file=-', image.path], JSON.stringify(token));
}

/** A token as `clevis luks bind` writes it, without a binding. @param jwe compact serialization */
export function clevisToken(keyslots: readonly string[], jwe: string): Readonly<Record<string, unknown>> {
  const [protectedText, encryptedKey, iv, ciphertext, tag] = jwe.split('.');
  return {
    type: 'clevis',
    keyslots,
    jwe: { ciphertext, encrypted_key: encryptedKey, iv, protected: protectedText, tag },
  };
}

/** `clevis luks bind` itself. @param config of the pin */
export function clevisBind(image: Image, pin: string, config: Readonly<Record<string, unknown>>): void {
  run('clevis', ['luks', 'bind', '-y', '-d', image.path, '-k', image.keyFile, pin, JSON.stringify(config)]);
}

/** What cryptsetup reads in the header; null when it refuses it. It may repair a damaged copy: give it a spare one. */
export function dumpJson(path: string): Record<string, Record<string, Record<string, unknown>>> | null {
  const { status, stdout } = spawnSync('cryptsetup', ['luksDump', '--dump-json-metadata', path]);
  return status === 0 ? JSON.parse(stdout.toString()) : null;
}

/** As cryptsetup reads it. */
export function uuidOf(path: string): string {
  return execFileSync('cryptsetup', ['luksUUID', path], { encoding: 'utf8' }).trim();
}

/** Whether `cryptsetup open` takes this key. */
export function opens(path: string, key: string | Uint8Array): boolean {
  const args = ['open', '--test-passphrase', '--key-file=-', '--disable-locks', path];
  return spawnSync('cryptsetup', args, { input: key }).status === 0;
}

export type Change = (json: string) => string;

/**
 * Changes a LUKS2 header as an attacker can: with right checksums.
 * @param which 0 = the first copy, 1 = the second
 * @param binary changes the copy's bytes, 4 KiB of binary header and the JSON area, before they get their checksum
 */
export function forge(
  path: string,
  which: readonly (0 | 1)[],
  change: Change,
  binary: (copy: Buffer) => void = () => {},
): void {
  const file = openSync(path, 'r+');
  try {
    const start = Buffer.alloc(BINARY_BYTES);
    readSync(file, start, 0, BINARY_BYTES, 0);
    const size = Number(start.readBigUInt64BE(8));
    for (const copy of which) {
      const bytes = Buffer.alloc(size);
      readSync(file, bytes, 0, size, copy * size);
      const area = bytes.subarray(BINARY_BYTES);
      const json = change(area.toString('utf8', 0, area.indexOf(0)));
      area.fill(0).write(json);
      binary(bytes);
      writeSync(file, checksummed(bytes), 0, size, copy * size);
    }
  } finally {
    closeSync(file);
  }
}

/** The same bytes of a copy, with the checksum that its algorithm gives written into them. */
export function checksummed(bytes: Buffer): Buffer {
  const algorithm = bytes.toString('latin1', 72, bytes.indexOf(0, 72));
  bytes.fill(0, 448, 512);
  createHash(algorithm).update(bytes).digest().copy(bytes, 448);
  return bytes;
}

/** Overwrites bytes, checksums be damned. */
export function overwrite(path: string, offset: number, bytes: Uint8Array): void {
  const file = openSync(path, 'r+');
  writeSync(file, bytes, 0, bytes.length, offset);
  closeSync(file);
}

/** Without writing what is empty. */
export function copyImage(from: string, to: string): void {
  run('cp', ['--sparse=always', from, to]);
}

/** The first `length` bytes. */
export function startOf(path: string, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const file = openSync(path, 'r');
  readSync(file, bytes, 0, length, 0);
  closeSync(file);
  return bytes;
}

function cryptsetup(args: readonly string[], input = ''): void {
  run('cryptsetup', args, input);
}

function run(tool: string, args: readonly string[], input = ''): void {
  execFileSync(tool, [...args], { input, stdio: ['pipe', 'ignore', 'pipe'] });
}
