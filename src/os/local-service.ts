import { existsSync } from 'node:fs';
import { createConnection } from 'node:net';
import { AppError } from '../base/errors.ts';
import type { LocalService } from '../base/ports.ts';

/** @param at gives the path of its stream socket (unix(7)) when it is first needed */
export function localService(at: () => string): LocalService {
  return {
    isThere: () => existsSync(at()),
    async ask(request, answerBytes, timeoutMs, signal) {
      const path = at();
      const answer = new Answer(answerBytes);
      const socket = createConnection(path);
      const late = () =>
        socket.destroy(new AppError('unavailable', `${path}: no answer within ${timeoutMs / 1000} s`));
      const stop = () =>
        socket.destroy(new AppError('stopped', `${path}: stopped while waiting for an answer`));
      const timer = setTimeout(late, timeoutMs);
      signal.addEventListener('abort', stop, { once: true });
      if (signal.aborted) stop();
      try {
        // Not end(): who sees an end before it has read the request may take it for a client that is gone.
        socket.write(request);
        for await (const chunk of socket as AsyncIterable<Buffer>)
          if (answer.add(chunk)) return answer.whole();
        throw new AppError('unavailable', `${path}: the connection ended before the answer did`);
      } catch (thrown) {
        throw explained(path, thrown);
      } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', stop);
        socket.destroy();
        answer.wipe();
      }
    },
  };
}

/** As much as has come of it. */
class Answer {
  readonly #chunks: Buffer[] = [];
  readonly #bytes: (head: Buffer) => number | null;
  #expected: number | null = null;
  #got = 0;

  constructor(bytes: (head: Buffer) => number | null) {
    this.#bytes = bytes;
  }

  /** @returns whether all of it is there */
  add(chunk: Buffer): boolean {
    this.#chunks.push(chunk);
    this.#got += chunk.length;
    if (this.#expected === null) {
      const head = Buffer.concat(this.#chunks);
      this.#expected = this.#bytes(head);
      head.fill(0);
    }
    return this.#expected !== null && this.#got >= this.#expected;
  }

  whole(): Buffer {
    const whole = Buffer.allocUnsafeSlow(this.#got);
    let at = 0;
    for (const chunk of this.#chunks) at += chunk.copy(whole, at);
    return whole.subarray(0, this.#expected ?? 0);
  }

  wipe(): void {
    for (const chunk of this.#chunks) chunk.fill(0);
  }
}

const NOBODY: Readonly<Record<string, string>> = { ENOENT: 'no such socket', ECONNREFUSED: 'nobody listens' };

function explained(path: string, thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  const { code = '' } = thrown as NodeJS.ErrnoException;
  if (code === 'EACCES') return new AppError('refused', `${path}: not permitted`, { cause: thrown });
  const what = NOBODY[code] ?? `the connection broke (${code})`;
  return new AppError('unavailable', `${path}: ${what}`, { cause: thrown });
}
