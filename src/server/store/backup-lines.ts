import * as v from 'valibot';
import { fromBase64url } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import { serverLimits } from '../../base/server-limits.ts';
import type { MachineState } from '../machine/state.ts';

const bytes = v.pipe(
  v.string(),
  v.transform(fromBase64url),
  v.custom<Buffer>((value) => value instanceof Uint8Array),
);
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const machine = v.strictObject({
  id: v.string(),
  name: v.string(),
  pin: v.nullable(bytes),
  tang: v.nullable(v.string()),
  revoked: v.boolean(),
  state: v.custom<MachineState>((value) => typeof value === 'object' && value !== null),
});
const key = v.strictObject({
  kid: v.string(),
  machine: v.string(),
  curve: v.string(),
  public: v.string(),
  private: bytes,
  'deleted-ms': v.nullable(count),
});
const end = v.strictObject({
  machine: count,
  key: count,
  record: count,
  head: count,
  file: count,
  'lease-ms': count,
});

/** A line of a backup, as `writeBackup` writes it. */
const lineSchema = v.union([
  v.strictObject({ file: v.strictObject({ name: v.string(), bytes }) }),
  v.strictObject({ machine }),
  v.strictObject({ key }),
  v.strictObject({ record: v.strictObject({ seq: count, hash: bytes, text: v.string() }) }),
  v.strictObject({ head: v.unknown() }),
  v.strictObject({ end }),
]);

export type BackupLine = v.InferOutput<typeof lineSchema>;
export type BackupMachine = v.InferOutput<typeof machine>;
export type BackupKey = v.InferOutput<typeof key>;
export type BackupEnd = v.InferOutput<typeof end>;
/** What is counted. */
export type BackupKind = Exclude<keyof BackupEnd, 'lease-ms'>;

/** @throws AppError `damaged` */
export async function* backupLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<BackupLine> {
  let rest = Buffer.alloc(0);
  for await (const chunk of chunks) {
    rest = Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      yield lineIn(rest.subarray(0, end));
      rest = rest.subarray(end + 1);
    }
    if (rest.length > serverLimits.backupLineBytes) throw notWhole();
  }
  if (rest.length > 0) throw notWhole();
}

function lineIn(text: Buffer): BackupLine {
  try {
    return v.parse(lineSchema, JSON.parse(text.toString()));
  } catch {
    // The line holds a private key: nothing of it goes into the error.
    throw notWhole();
  }
}

export function notWhole(): AppError {
  return new AppError('damaged', 'backup: its contents are not whole', { hint: 'use another backup' });
}
