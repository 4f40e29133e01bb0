import { bytes, type Field, integer, readFields, readPacked } from './protobuf.ts';

/**
 * The messages that are needed here, of those that https://github.com/parallaxsecond/parsec-operations defines. An
 * answer that is not what its definition says reads as null.
 */

/** parsec-book, 'Operations': opcodes. */
export const opcode = {
  ping: 0x0001,
  generateKey: 0x0002,
  exportPublicKey: 0x0007,
  listProviders: 0x0008,
  listOpcodes: 0x0009,
  asymmetricEncrypt: 0x000a,
  asymmetricDecrypt: 0x000b,
} as const;

/** psa_algorithm.proto, Hash.SHA_256. */
const SHA_256 = 7;
/** psa_algorithm.proto, AsymmetricEncryption { rsa_oaep = 2 { hash_alg = 1 } }. */
const RSA_OAEP = bytes(2, integer(1, SHA_256));
/** RSA of a TPM has it (TCG PC Client Platform TPM Profile, algorithms). */
const KEY_BITS = 2048;

/** An RSA key pair for OAEP with SHA-256 alone, that is never exported. */
export function generateKey(name: string): Buffer {
  const rsaKeyPair = bytes(1, bytes(10));
  const usage = bytes(1, integer(4, 1), integer(5, 1));
  const algorithm = bytes(2, bytes(7, RSA_OAEP));
  return Buffer.concat([
    bytes(1, name),
    bytes(2, rsaKeyPair, integer(2, KEY_BITS), bytes(3, usage, algorithm)),
  ]);
}

/** For reading a key's public half. */
export function named(name: string): Buffer {
  return bytes(1, name);
}

/** Both directions have the same form; no salt, which is OAEP's label. */
export function asymmetric(name: string, text: Uint8Array): Buffer {
  const field = bytes(3, text);
  const body = Buffer.concat([bytes(1, name), bytes(2, RSA_OAEP), field]);
  field.fill(0);
  return body;
}

/** What one of the three gives; a view of `body`. */
export function dataResult(body: Buffer): Buffer | null {
  const fields = readFields(body);
  return fields === null ? null : bytesIn(fields, 1);
}

export function pingResult(body: Buffer): { readonly major: number; readonly minor: number } | null {
  const fields = readFields(body);
  const major = fields && integerIn(fields, 1);
  const minor = fields && integerIn(fields, 2);
  return major === null || minor === null ? null : { major, minor };
}

/** Ids of the providers, the service's favourite first. */
export function listProvidersResult(body: Buffer): readonly number[] | null {
  const fields = readFields(body);
  const ids = fields?.map(({ number, value }) => (number === 1 ? providerId(value) : undefined)) ?? [null];
  return ids.includes(null) ? null : ids.filter((id) => typeof id === 'number');
}

function providerId(info: number | Buffer): number | null {
  const fields = typeof info === 'number' ? null : readFields(info);
  return fields === null ? null : integerIn(fields, 7);
}

export function listOpcodes(provider: number): Buffer {
  return integer(1, provider);
}

/** A repeated number is packed, or a field each: readers take both. */
export function listOpcodesResult(body: Buffer): readonly number[] | null {
  const opcodes: number[] = [];
  const fields = readFields(body);
  if (fields === null) return null;
  for (const { number, value } of fields) {
    if (number !== 1) continue;
    const values = typeof value === 'number' ? [value] : readPacked(value);
    if (values === null) return null;
    opcodes.push(...values);
  }
  return opcodes;
}

/** Of a field that is there more than once the last one counts; of one that is absent, its default. */
function last(fields: readonly Field[], number: number): number | Buffer | undefined {
  return fields.findLast((field) => field.number === number)?.value;
}

function integerIn(fields: readonly Field[], number: number): number | null {
  const value = last(fields, number) ?? 0;
  return typeof value === 'number' ? value : null;
}

function bytesIn(fields: readonly Field[], number: number): Buffer | null {
  const value = last(fields, number) ?? Buffer.alloc(0);
  return typeof value === 'number' ? null : value;
}
