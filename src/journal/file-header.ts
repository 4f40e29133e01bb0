import type { Files } from '../base/ports.ts';

/** What the header of a journal file says (Journal File Format, "Header"). None of it is authenticated here. */
export interface FileHeader {
  readonly isSealed: boolean;
  /** Unix time of the last entry; 0 = none. */
  readonly lastEntryMs: number;
}

const SIGNATURE = 'LPKSHHRH';
const COMPATIBLE_FLAGS = 8;
const SEALED = 1;
const TAIL_ENTRY_REALTIME = 192;
const HEADER_BYTES = 200;

/** @returns null when it is no journal file @throws AppError `unavailable` (not there, unreadable) */
export async function readFileHeader(path: string, files: Files): Promise<FileHeader | null> {
  const header = await files.readRange(path, 0, HEADER_BYTES);
  if (header.length < HEADER_BYTES || header.toString('latin1', 0, SIGNATURE.length) !== SIGNATURE)
    return null;
  return {
    isSealed: (header.readUInt32LE(COMPATIBLE_FLAGS) & SEALED) !== 0,
    lastEntryMs: Number(header.readBigUInt64LE(TAIL_ENTRY_REALTIME) / 1000n),
  };
}
