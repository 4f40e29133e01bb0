import { type FileHandle, open } from 'node:fs/promises';
import { AppError } from '../base/errors.ts';
import { durableFiles } from './durable-files.ts';

/** A file of mode 0600 that is written piece by piece, and is there once it is whole. */
export interface NewFile extends AsyncDisposable {
  /** @throws AppError `unavailable` (no room) */
  write(bytes: Uint8Array): Promise<void>;
  /** It is whole. Until then it goes away when disposed of. @throws AppError `unavailable` */
  keep(): Promise<void>;
}

/** @throws AppError `unavailable` */
export async function newFile(path: string): Promise<NewFile> {
  const unfinished = `${path}.new`;
  durableFiles.create(unfinished);
  const file = await open(unfinished, 'r+').catch((cause) => failed(path, cause));
  let kept = false;
  return {
    async write(bytes) {
      await writeAll(file, bytes).catch((cause) => failed(path, cause));
    },
    async keep() {
      await file.sync().catch((cause) => failed(path, cause));
      durableFiles.rename(unfinished, path);
      kept = true;
    },
    async [Symbol.asyncDispose]() {
      await file.close();
      if (!kept) durableFiles.remove(unfinished);
    },
  };
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
}

function failed(path: string, cause: unknown): never {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
  throw new AppError('unavailable', `${path}: ${code}`, { cause });
}
