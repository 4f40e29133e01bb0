import { readFileSync, writeFileSync } from 'node:fs';
import { sipHash } from './siphash.ts';

/**
 * Journal files as an intruder changes them (systemd's Journal File Format). Offsets of the header's fields, then of an
 * object's.
 */
const FLAGS = 12;
const KEYED_HASH = 4;
const COMPACT = 16;
const FILE_ID = 24;
const HEADER_SIZE = 88;
const HASH_TABLE = 104;
const HASH_TABLE_SIZE = 112;
const TAIL_OBJECT = 136;

const SEALS = 224;
const ENTRY_ARRAYS = 232;

const DATA = 1;
const ENTRY = 3;
const ENTRY_ARRAY = 6;
const SEAL = 7;
const HASH = 16;
const NEXT_HASH = 24;
const PAYLOAD = 64;
const COMPACT_PAYLOAD = 72;
const ITEMS = 64;

/**
 * Puts one message in another's place, as long, so that every hash of the file still fits: that of its object, the
 * place in the hash table, and the entries' copies. Only the seals do not.
 */
export function alterMessage(path: string, from: string, to: string): void {
  if (Buffer.byteLength(from) !== Buffer.byteLength(to)) throw new Error('expected messages of one length');
  const file = new JournalFile(readFileSync(path));
  file.alter(Buffer.from(`MESSAGE=${from}`), Buffer.from(`MESSAGE=${to}`));
  writeFileSync(path, file.bytes);
}

/** The same as a clumsy intruder does it: bytes alone. */
export function overwriteMessage(path: string, from: string, to: string): void {
  const bytes = readFileSync(path);
  bytes.write(to, bytes.indexOf(from));
  writeFileSync(path, bytes);
}

/** Takes all seals but the first out, by which nothing is sealed: lists of entries that nobody refers to. */
export function cutSeals(path: string): void {
  const file = new JournalFile(readFileSync(path));
  file.cutSeals();
  writeFileSync(path, file.bytes);
}

class JournalFile {
  readonly bytes: Buffer;
  readonly #isCompact: boolean;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    const flags = bytes.readUInt32LE(FLAGS);
    if ((flags & KEYED_HASH) === 0)
      throw new Error('expected a file with keyed hashes, as systemd has since 246');
    this.#isCompact = (flags & COMPACT) !== 0;
  }

  alter(from: Buffer, to: Buffer): void {
    const object = this.#objects(DATA).find((at) => this.#payload(at).equals(from));
    if (object === undefined) throw new Error(`no data object ${from.toString()}`);
    const old = this.bytes.readBigUInt64LE(object + HASH);
    this.#payload(object).set(to);
    const hash = sipHash(this.bytes.subarray(FILE_ID, FILE_ID + 16), to);
    this.bytes.writeBigUInt64LE(hash, object + HASH);
    this.#takeOut(object, old);
    this.#putIn(object, hash);
    if (!this.#isCompact) for (const entry of this.#objects(ENTRY)) this.#copyHash(entry, object, hash);
  }

  cutSeals(): void {
    const firstData = this.#objects(DATA)[0] ?? 0;
    const seals = this.#objects(SEAL).filter((at) => at > firstData);
    for (const at of seals) {
      this.bytes[at] = ENTRY_ARRAY;
      this.bytes.fill(0, at + 16, at + this.#number(at + 8));
    }
    this.#setNumber(SEALS, this.#number(SEALS) - seals.length);
    this.#setNumber(ENTRY_ARRAYS, this.#number(ENTRY_ARRAYS) + seals.length);
  }

  #payload(object: number): Buffer {
    const start = object + (this.#isCompact ? COMPACT_PAYLOAD : PAYLOAD);
    return this.bytes.subarray(start, object + this.#number(object + 8));
  }

  #objects(type: number): number[] {
    const found: number[] = [];
    const last = this.#number(TAIL_OBJECT);
    for (let at = this.#number(HEADER_SIZE); at <= last; at += Math.ceil(this.#number(at + 8) / 8) * 8) {
      if (this.bytes[at] === type) found.push(at);
    }
    return found;
  }

  /** Where the bucket's first and last object are named. */
  #bucket(hash: bigint): { head: number; tail: number } {
    const buckets = BigInt(this.#number(HASH_TABLE_SIZE) / 16);
    const head = this.#number(HASH_TABLE) + Number(hash % buckets) * 16;
    return { head, tail: head + 8 };
  }

  #chain(head: number): number[] {
    const chain: number[] = [];
    for (let at = this.#number(head); at !== 0; at = this.#number(at + NEXT_HASH)) chain.push(at);
    return chain;
  }

  #takeOut(object: number, hash: bigint): void {
    const { head, tail } = this.#bucket(hash);
    this.#link(
      head,
      tail,
      this.#chain(head).filter((at) => at !== object),
    );
  }

  /** A chain goes up. */
  #putIn(object: number, hash: bigint): void {
    const { head, tail } = this.#bucket(hash);
    this.#link(
      head,
      tail,
      [...this.#chain(head), object].toSorted((a, b) => a - b),
    );
  }

  #link(head: number, tail: number, chain: readonly number[]): void {
    this.#setNumber(head, chain[0] ?? 0);
    this.#setNumber(tail, chain.at(-1) ?? 0);
    for (const [index, at] of chain.entries()) this.#setNumber(at + NEXT_HASH, chain[index + 1] ?? 0);
  }

  #copyHash(entry: number, object: number, hash: bigint): void {
    const end = entry + this.#number(entry + 8);
    for (let item = entry + ITEMS; item < end; item += 16) {
      if (this.#number(item) === object) this.bytes.writeBigUInt64LE(hash, item + 8);
    }
  }

  #number(at: number): number {
    return Number(this.bytes.readBigUInt64LE(at));
  }

  #setNumber(at: number, value: number): void {
    this.bytes.writeBigUInt64LE(BigInt(value), at);
  }
}
