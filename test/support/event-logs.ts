import { createHash } from 'node:crypto';

/** A measurement, as firmware makes it: of `measured`, or of the data itself. */
export interface Measurement {
  readonly pcr: number;
  readonly type: number;
  readonly data: Buffer;
  readonly measured?: Buffer;
}

const BANKS = [
  { name: 'sha1', id: 0x0004, bytes: 20 },
  { name: 'sha256', id: 0x000b, bytes: 32 },
] as const;

const u16 = (value: number) => Buffer.from(Uint16Array.of(value).buffer);
const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (value: number) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
const sized = (data: Buffer) => Buffer.concat([u32(data.length), data]);

/** A log in the form of the TCG PC Client Platform Firmware Profile §10, with banks SHA-1 and SHA-256. */
export function eventLog(events: readonly Measurement[]): Buffer {
  const specId = Buffer.concat([
    Buffer.from('Spec ID Event03\0'),
    ...[u32(0), Buffer.from([0, 2, 0, 2]), u32(BANKS.length)],
    ...BANKS.flatMap(({ id, bytes }) => [u16(id), u16(bytes)]),
    Buffer.from([0]),
  ]);
  const first = Buffer.concat([u32(0), u32(3), Buffer.alloc(20), sized(specId)]);
  return Buffer.concat([first, ...events.map(event)]);
}

function event(one: Measurement): Buffer {
  const digests = BANKS.flatMap(({ name, id }) => [u16(id), digestOf(one, name)]);
  return Buffer.concat([u32(one.pcr), u32(one.type), u32(BANKS.length), ...digests, sized(one.data)]);
}

export function digestOf({ type, data, measured = data }: Measurement, hash: 'sha1' | 'sha256'): Buffer {
  const digest = createHash(hash).update(measured).digest();
  return type === 3 ? Buffer.alloc(digest.length) : digest;
}

const VARIABLE_DRIVER_CONFIG = 0x80000001;
const IMAGE = 0x80000003;

/** Of Secure Boot, in PCR 7. */
export function variable(name: string, contents: string): Measurement {
  const guid = Buffer.alloc(16, 0x61);
  const body = [Buffer.from(name, 'utf16le'), Buffer.from(contents)];
  const data = Buffer.concat([guid, u64(name.length), u64(contents.length), ...body]);
  return { pcr: 7, type: VARIABLE_DRIVER_CONFIG, data };
}

/** A program that was started, in PCR 4. */
export function image(path: string, contents: string): Measurement {
  const name = Buffer.from(`${path}\0`, 'utf16le');
  const node = (type: number, subType: number, body: Buffer) =>
    Buffer.concat([Buffer.from([type, subType]), u16(4 + body.length), body]);
  const nodes = [node(1, 1, Buffer.alloc(2)), node(4, 4, name), node(0x7f, 0xff, Buffer.alloc(0))];
  const devicePath = Buffer.concat(nodes);
  const numbers = [u64(1), u64(2), u64(3), u64(devicePath.length)];
  return {
    pcr: 4,
    type: IMAGE,
    data: Buffer.concat([...numbers, devicePath]),
    measured: Buffer.from(contents),
  };
}

export function action(pcr: number, text: string): Measurement {
  return { pcr, type: 5, data: Buffer.from(text) };
}

export function separator(pcr: number): Measurement {
  return { pcr, type: 4, data: Buffer.alloc(4) };
}

/** The locality that the TPM was started from, which is no measurement. */
export function startupLocality(locality: number): Measurement {
  return {
    pcr: 0,
    type: 3,
    data: Buffer.concat([Buffer.from('StartupLocality\0'), Buffer.from([locality])]),
  };
}
