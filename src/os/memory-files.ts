import { closeSync, fstatSync, readSync, writeSync } from 'node:fs';
import { AppError } from '../base/errors.ts';
import type { MemoryFile, MemoryFiles } from '../base/ports.ts';
import { memfdCreate } from './libc.ts';

export const memoryFiles: MemoryFiles = {
  create(contents = new Uint8Array()) {
    const file = new Memfd();
    try {
      file.write(contents);
      return file;
    } catch (thrown) {
      file[Symbol.dispose]();
      throw thrown;
    }
  },
};

/** A descriptor of memfd_create(2); the kernel frees the memory with the last descriptor or mapping of it. */
class Memfd implements MemoryFile {
  readonly fd = memfdCreate('fetch-luks-key');
  #open = true;

  write(contents: Uint8Array): void {
    for (let at = 0; at < contents.length; ) at += writeSync(this.fd, contents, at, contents.length - at, at);
  }

  read(maxBytes: number): Buffer {
    const { size } = fstatSync(this.fd);
    if (size > maxBytes) {
      throw new AppError('unavailable', `memory file: expected at most ${maxBytes} bytes, got ${size}`);
    }
    const bytes = Buffer.allocUnsafeSlow(size);
    let have = 0;
    while (have < size) {
      const count = readSync(this.fd, bytes, have, size - have, have);
      if (count === 0) break;
      have += count;
    }
    return bytes.subarray(0, have);
  }

  [Symbol.dispose](): void {
    if (this.#open) closeSync(this.fd);
    this.#open = false;
  }
}
