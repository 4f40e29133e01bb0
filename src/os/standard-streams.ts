import { writeFileSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { AppError } from '../base/errors.ts';
import { Secret } from '../base/secret.ts';

export const standardOutputIsTerminal = () => isatty(1);

/**
 * Standard input to its end, wiped from where Node had it.
 * @throws AppError `usage` when it is a terminal, longer than `maxBytes` or cannot be read; `stopped`
 */
export async function readStandardInput(maxBytes: number, signal: AbortSignal): Promise<Secret> {
  if (isatty(0)) {
    throw new AppError('usage', 'standard input is a terminal', {
      hint: 'pipe the input in, or redirect a file',
    });
  }
  const bytes = Buffer.allocUnsafeSlow(maxBytes);
  let length = 0;
  const stop = () => process.stdin.destroy();
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
      const fits = length + chunk.length <= maxBytes;
      if (fits) bytes.set(chunk, length);
      chunk.fill(0);
      if (!fits) throw new AppError('usage', `standard input: expected at most ${maxBytes} bytes, got more`);
      length += chunk.length;
    }
    return Secret.takeFrom(bytes.subarray(0, length));
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    if (signal.aborted) throw new AppError('stopped', 'stopped before standard input ended', { cause });
    throw new AppError('usage', `standard input: cannot be read (${errnoOf(cause)})`, { cause });
  } finally {
    signal.removeEventListener('abort', stop);
    bytes.fill(0);
  }
}

/**
 * Writes all of it to standard output.
 * @throws AppError `stopped` when its reader has gone, `unavailable` when it cannot be written to (full disk)
 */
export function print(text: string | Uint8Array): void {
  try {
    writeFileSync(1, text);
  } catch (cause) {
    if (errnoOf(cause) === 'EPIPE') {
      throw new AppError('stopped', 'standard output: closed by its reader before all was written', {
        cause,
      });
    }
    throw new AppError('unavailable', `standard output: cannot be written (${errnoOf(cause)})`, { cause });
  }
}

/** Writes a line to standard error. Where that fails nobody is left to be told, and the exit status still says it. */
export function say(line: string): void {
  try {
    writeSync(2, `${line}\n`);
  } catch {
    // See above.
  }
}

function errnoOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
}
