import type { Files } from '../base/ports.ts';

/** What the header of a journal file says (Journal File Format, "Header"). None of it is authenticated here. */
export interface FileHeader {
  readonly isSealed: boolean;
  /** Unix time of the last entry; 0 = none. */
  readonly lastEntryMs: number;
  /** Nothing comes behind its last seal. */
  readonly endsInSeal: boolean;
  /** journald seals each interval, and the end when it closes the file, as since systemd 254; before, no end. */
  readonly isContinuous: boolean;
}

const SIGNATURE = 'LPKSHHRH';
const COMPATIBLE_FLAGS = 8;
const SEALED = 1;
const SEALED_CONTINUOUS = 4;
const TAIL_OBJECT = 136;
const TAIL_ENTRY_REALTIME = 192;
const HEADER_BYTES = 200;
/** An object's first byte, when it is a seal. */
const OBJECT_TAG = 7;

/** @returns null when it is no journal file @throws AppError `unavailable` (not there, unreadable) */
export async function readFileHeader(path: string, files: Files): Promise<FileHeader | null> {
  const header = await files.readRange(path, 0, HEADER_BYTES);
  if (header.length < HEADER_BYTES || header.toString('latin1', 0, SIGNATURE.length) !== SIGNATURE)
    return null;
  const [lastObject] = await files.readRange(path, Number(header.readBigUInt64LE(TAIL_OBJECT)), 1);
  const flags = header.readUInt32LE(COMPATIBLE_FLAGS);
  return {
    isSealed: (flags & SEALED) !== 0,
    endsInSeal: lastObject === OBJECT_TAG,
    isContinuous: (flags & SEALED_CONTINUOUS) !== 0,
    lastEntryMs: Number(header.readBigUInt64LE(TAIL_ENTRY_REALTIME) / 1000n),
  };
}
