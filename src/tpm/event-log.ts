import { createHash } from 'node:crypto';
import { type HashName, hashes, hashNames } from './pcrs.ts';

/**
 * The firmware's log of what it measured (TCG PC Client Platform Firmware Profile §10), which Linux shows at
 * /sys/kernel/security/tpm0/binary_bios_measurements. All numbers are little-endian.
 */
export interface MeasuredEvent {
  readonly pcr: number;
  /** §10.4.1: EV_SEPARATOR, …. */
  readonly type: number;
  /** What the PCR was extended with, in each bank of the log. */
  readonly digests: ReadonlyMap<HashName, Buffer>;
  readonly data: Buffer;
}

/** Told in the log, but not measured. */
const EV_NO_ACTION = 0x3;

/**
 * @returns in the order of measuring; null when it is not a log that carries digests of several banks ("crypto agile",
 *   as every TPM 2.0 has), or is cut
 */
export function parseEventLog(log: Buffer): MeasuredEvent[] | null {
  const reader = new Reader(log);
  try {
    const sizes = readSpecId(reader);
    if (sizes === null) return null;
    const events: MeasuredEvent[] = [];
    while (!reader.atEnd()) events.push(readEvent(reader, sizes));
    return events;
  } catch (thrown) {
    if (thrown instanceof RangeError) return null;
    throw thrown;
  }
}

/** The first event, in the form of TPM 1.2, says which banks the others have (§10.4.5.1). */
function readSpecId(reader: Reader): ReadonlyMap<number, number> | null {
  const SIGNATURE = 'Spec ID Event03\0';
  reader.take(4 + 4 + hashes.sha1.bytes);
  const event = new Reader(reader.take(reader.u32()));
  if (event.take(SIGNATURE.length).toString('latin1') !== SIGNATURE) return null;
  event.take(8);
  const sizes = new Map<number, number>();
  for (let left = event.u32(); left > 0; left--) sizes.set(event.u16(), event.u16());
  return sizes;
}

/** TCG_PCR_EVENT2 (§10.2.2). */
function readEvent(reader: Reader, sizes: ReadonlyMap<number, number>): MeasuredEvent {
  const pcr = reader.u32();
  const type = reader.u32();
  const digests = new Map<HashName, Buffer>();
  for (let left = reader.u32(); left > 0; left--) {
    const id = reader.u16();
    const size = sizes.get(id);
    if (size === undefined) throw new RangeError('a bank that the log does not announce');
    const digest = reader.take(size);
    const bank = hashNames.find((name) => hashes[name].id === id && hashes[name].bytes === size);
    if (bank !== undefined) digests.set(bank, digest);
  }
  return { pcr, type, digests, data: reader.take(reader.u32()) };
}

/** Throws RangeError past the end, as the methods of Buffer do. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  take(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw new RangeError('the log is cut');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  u16(): number {
    return this.take(2).readUInt16LE();
  }

  u32(): number {
    return this.take(4).readUInt32LE();
  }
}

/** Those that changed this PCR, in this bank. */
export function eventsOf(
  events: readonly MeasuredEvent[],
  pcr: number,
  bank: HashName,
): (MeasuredEvent & { readonly digest: Buffer })[] {
  return events.flatMap((event) => {
    const digest = event.digests.get(bank);
    return event.pcr === pcr && event.type !== EV_NO_ACTION && digest !== undefined
      ? [{ ...event, digest }]
      : [];
  });
}

/** What the PCR holds if nothing else was measured (TPM 2.0 Part 1 §17.2: H(before ‖ digest), each time). */
export function replay(events: readonly MeasuredEvent[], pcr: number, bank: HashName): Buffer {
  const { node, bytes } = hashes[bank];
  const first = Buffer.alloc(bytes);
  if (pcr === 0) first[bytes - 1] = startupLocality(events);
  return eventsOf(events, pcr, bank).reduce(
    (value, { digest }) => createHash(node).update(value).update(digest).digest(),
    first,
  );
}

/** Who started the TPM, which PCR 0 begins with (§10.4.5.3). */
function startupLocality(events: readonly MeasuredEvent[]): number {
  const SIGNATURE = 'StartupLocality\0';
  const told = events.find(
    ({ pcr, type, data }) =>
      pcr === 0 &&
      type === EV_NO_ACTION &&
      data.subarray(0, SIGNATURE.length).toString('latin1') === SIGNATURE,
  );
  return told?.data[SIGNATURE.length] ?? 0;
}
