import { createHash } from 'node:crypto';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import { damaged, isNullCipher, notEncrypted, quoted } from './fault.ts';
import { type Metadata, parseMetadata } from './metadata.ts';

/** LUKS2 on-disk format §2: offsets and sizes in bytes, numbers big-endian. */
const MAGIC = Buffer.from('LUKS\xba\xbe', 'latin1');
const SECOND_MAGIC = Buffer.from('SKUL\xba\xbe', 'latin1');
const BINARY_BYTES = 4096;
const CHECKSUM = { offset: 448, bytes: 64 } as const;
/** §2.1: the second copy begins where the first ends, 16 KiB to 4 MiB from the start and a power of two. */
const SMALLEST_BYTES = 16 * 1024;
const SECOND_OFFSETS = Array.from({ length: 9 }, (_, power) => SMALLEST_BYTES * 2 ** power);

/** At the same place in LUKS1 and LUKS2. */
const UUID = { offset: 168, bytes: 40 } as const;

/** LUKS1 on-disk format §3.1: the cipher's name, padded with NUL. */
const LUKS1_CIPHER = { offset: 8, bytes: 32 } as const;

export type LuksHeader =
  | { readonly version: 2; readonly uuid: string; readonly metadata: Metadata }
  /** It has no tokens: nothing of ours can be in it. */
  | { readonly version: 1; readonly uuid: string };

/**
 * Reads the LUKS header of a device, an image or a header file, and chooses between its two copies as cryptsetup
 * does. It is not authenticated (CVE-2025-59054): who has the disk can make it say that the data is encrypted with
 * nothing, and have the right key opened and secrets written in clear. So every intact copy is looked at, and one
 * that says so refuses the volume. What is returned was validated in memory and is not read again.
 * @returns null when this is not LUKS
 * @throws AppError `refused` (a null cipher), `damaged`, `unavailable` (no such device yet, unreadable)
 */
export async function readLuksHeader(files: Files, path: string): Promise<LuksHeader | null> {
  const start = await files.readRange(path, 0, BINARY_BYTES);
  const isLuks = hasMagic(start, MAGIC);
  const version = isLuks && start.length >= 8 ? start.readUInt16BE(6) : 0;
  if (version === 1) return luks1(start, path);
  if (isLuks && version !== 2) {
    throw damaged(path, `expected LUKS version 1 or 2, got ${version}`);
  }
  const first = await readCopy(files, path, 0);
  const second = await readSecondCopy(files, path, first);
  const copies = [first, second].filter((copy) => copy !== 'absent' && copy !== 'broken');
  const [best] = copies.toSorted((a, b) => (a.sequence < b.sequence ? 1 : a.sequence > b.sequence ? -1 : 0));
  if (best !== undefined) return { version: 2, uuid: best.uuid, metadata: best.metadata };
  if (first === 'absent' && second === 'absent') return null;
  throw damaged(path, 'both copies of the header are damaged');
}

interface Copy {
  readonly bytes: number;
  /** Counts changes: of two intact copies the higher is the newer. */
  readonly sequence: bigint;
  readonly uuid: string;
  readonly metadata: Metadata;
}

/** Beside an intact first copy there is one place for the second; without it every allowed one is tried. */
async function readSecondCopy(
  files: Files,
  path: string,
  first: Copy | 'absent' | 'broken',
): Promise<Copy | 'absent' | 'broken'> {
  if (typeof first === 'object') return readCopy(files, path, first.bytes);
  let found: 'absent' | 'broken' = 'absent';
  for (const offset of SECOND_OFFSETS) {
    const copy = await readCopy(files, path, offset);
    if (typeof copy === 'object') return copy;
    if (copy === 'broken') found = copy;
  }
  return found;
}

/**
 * One copy of the header, at `offset` bytes: its size is learnt by a first read, all else is taken from the second.
 * @throws AppError `refused`, `damaged`, `unavailable`
 */
async function readCopy(files: Files, path: string, offset: number): Promise<Copy | 'absent' | 'broken'> {
  const start = await files.readRange(path, offset, BINARY_BYTES);
  if (!hasMagic(start, offset === 0 ? MAGIC : SECOND_MAGIC)) return 'absent';
  if (start.length < BINARY_BYTES) return 'broken';
  const size = Number(start.readBigUInt64BE(8));
  if (size < SMALLEST_BYTES || size > limits.luksHeaderBytes) return 'broken';
  const bytes = await files.readRange(path, offset, size);
  return bytes.length < size ? 'broken' : examine(bytes, offset, path);
}

/**
 * What cryptsetup would pass over as broken is `broken`; what it might take though it is not taken here is an error,
 * so that the two never choose different copies.
 */
function examine(bytes: Buffer, offset: number, path: string): Copy | 'broken' {
  const size = bytes.length;
  if (bytes.readUInt16BE(6) !== 2) return 'broken';
  if (bytes.readBigUInt64BE(8) !== BigInt(size) || bytes.readBigUInt64BE(256) !== BigInt(offset))
    return 'broken';
  if (offset !== 0 && offset !== size) return 'broken';
  const algorithm = textAt(bytes, 72, 32);
  if (algorithm !== 'sha256') {
    throw damaged(path, `checksum algorithm: expected "sha256", got ${quoted(algorithm)}`);
  }
  if (!isIntact(bytes)) return 'broken';
  return {
    bytes: size,
    sequence: bytes.readBigUInt64BE(16),
    uuid: textAt(bytes, UUID.offset, UUID.bytes),
    metadata: parseMetadata(bytes.subarray(BINARY_BYTES), path),
  };
}

/** §2.1: SHA-256 over binary header and JSON area, with the checksum's own field as zeros. */
function isIntact(bytes: Buffer): boolean {
  const { offset } = CHECKSUM;
  const sum = createHash('sha256')
    .update(bytes.subarray(0, offset))
    .update(Buffer.alloc(CHECKSUM.bytes))
    .update(bytes.subarray(offset + CHECKSUM.bytes))
    .digest();
  return sum.equals(bytes.subarray(offset, offset + sum.length));
}

function luks1(start: Buffer, path: string): LuksHeader {
  const cipher = textAt(start, LUKS1_CIPHER.offset, LUKS1_CIPHER.bytes);
  if (isNullCipher(cipher)) throw notEncrypted(path, 'the data', cipher);
  return { version: 1, uuid: textAt(start, UUID.offset, UUID.bytes) };
}

function hasMagic(bytes: Buffer, magic: Buffer): boolean {
  return bytes.subarray(0, magic.length).equals(magic);
}

function textAt(bytes: Buffer, offset: number, length: number): string {
  const field = bytes.subarray(offset, offset + length);
  const end = field.indexOf(0);
  return field.toString('latin1', 0, end === -1 ? field.length : end);
}
