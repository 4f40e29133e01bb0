/**
 * The part of protobuf's wire format that Parsec's messages need
 * (https://protobuf.dev/programming-guides/encoding/).
 */

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Varints above it are in no message of ours. */
const LARGEST = Number.MAX_SAFE_INTEGER;

export interface Field {
  readonly number: number;
  /** A varint; or bytes, which are a view of the message. Other types are left out. */
  readonly value: number | Buffer;
}

/** Field `number` with an unsigned integer or an enum's value. */
export function integer(number: number, value: number): Buffer {
  return Buffer.concat([varint(number * 8 + VARINT), varint(value)]);
}

/** Field `number` with a text, bytes, or the fields of a message. */
export function bytes(number: number, ...parts: readonly (string | Uint8Array)[]): Buffer {
  const contents = parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part));
  const length = contents.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([varint(number * 8 + BYTES), varint(length), ...contents]);
}

/** @returns null when `message` is no protobuf message */
export function readFields(message: Buffer): readonly Field[] | null {
  const fields: Field[] = [];
  const reader = new Reader(message);
  while (!reader.atEnd) {
    const tag = reader.varint();
    const value = tag === null ? null : reader.value(tag % 8);
    if (tag === null || value === null) return null;
    if (value !== 'other') fields.push({ number: Math.floor(tag / 8), value });
  }
  return fields;
}

/** Varints without tags: a packed repeated field. @returns null when `packed` is not that */
export function readPacked(packed: Buffer): readonly number[] | null {
  const values: number[] = [];
  const reader = new Reader(packed);
  while (!reader.atEnd) {
    const value = reader.varint();
    if (value === null) return null;
    values.push(value);
  }
  return values;
}

function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) out.push((rest % 0x80) + 0x80);
  return Buffer.from([...out, rest]);
}

/** Each of its methods gives null past the end. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(message: Buffer) {
    this.#bytes = message;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  varint(): number | null {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) return null;
      value += (byte % 0x80) * scale;
      if (value > LARGEST) return null;
      if (byte < 0x80) return value;
    }
  }

  value(type: number): number | Buffer | 'other' | null {
    switch (type) {
      case VARINT:
        return this.varint();
      case BYTES: {
        const length = this.varint();
        return length === null ? null : this.#take(length);
      }
      case FIXED64:
        return this.#take(8) === null ? null : 'other';
      case FIXED32:
        return this.#take(4) === null ? null : 'other';
      default:
        return null;
    }
  }

  #take(length: number): Buffer | null {
    if (length > this.#bytes.length - this.#at) return null;
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}
