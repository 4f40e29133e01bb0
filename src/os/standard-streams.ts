import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { AppError } from '../base/errors.ts';
import { Secret } from '../base/secret.ts';

export const standardOutputIsTerminal = isatty(1);

/** Standard input to its end, wiped from where Node had it. @throws AppError `usage` */
export async function readStandardInput(maxBytes: number): Promise<Secret> {
  if (isatty(0)) {
    throw new AppError('usage', 'standard input is a terminal', {
      hint: 'pipe the input in, or redirect a file',
    });
  }
  const bytes = Buffer.allocUnsafeSlow(maxBytes);
  let length = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    if (length + chunk.length > maxBytes) {
      bytes.fill(0);
      throw new AppError('usage', `standard input: expected at most ${maxBytes} bytes, got more`);
    }
    bytes.set(chunk, length);
    length += chunk.length;
    chunk.fill(0);
  }
  return Secret.takeFrom(bytes.subarray(0, length));
}

/** Writes all of it: a pipe takes what it has room for. */
export function print(text: string | Uint8Array): void {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  for (let done = 0; done < bytes.length; ) done += writeSync(1, bytes, done);
}

export function say(line: string): void {
  writeSync(2, `${line}\n`);
}
