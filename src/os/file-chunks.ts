import { createReadStream } from 'node:fs';
import { AppError } from '../base/errors.ts';

/** A file from its beginning to its end. @throws AppError `bad-config`: no such file, or it cannot be read */
export async function* fileChunks(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path) as AsyncIterable<Buffer>;
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    throw new AppError('bad-config', `${path}: ${code}`, { cause });
  }
}
