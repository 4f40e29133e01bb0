import { hash } from 'node:crypto';

/** Where a chain ends: the number of its last record and the hash over all up to it. */
export interface Head {
  /** 0 before the first record. */
  readonly seq: number;
  /** SHA-256. */
  readonly hash: Buffer;
}

/** One record of the chain. */
export interface Link extends Head {
  readonly text: string;
}

/** A chain without a record. */
export const emptyChain: Head = { seq: 0, hash: Buffer.alloc(32) };

/** Led by it, no other hash of this program can be taken for a link's. */
export const chainLabel = Buffer.from('luks-key-server audit 1\n');

/** SHA-256 of a record's text (UTF-8): for who may follow the chain without reading what it records. */
export function digestOf(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}

/** SHA-256 of a label, the hash before (32 bytes), the number (64 bits, big endian) and the record's digest. */
export function headAfter(previous: Head, digest: Buffer): Head {
  const seq = previous.seq + 1;
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(BigInt(seq));
  const bytes = Buffer.concat([chainLabel, previous.hash, number, digest]);
  return { seq, hash: hash('sha256', bytes, 'buffer') };
}

export function linkTo(previous: Head, text: string): Link {
  return { ...headAfter(previous, digestOf(text)), text };
}
