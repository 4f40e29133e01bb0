import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';

/** The controlling terminal (tty(4)); standard input need not be one: it carries the secret. */
const TERMINAL = '/dev/tty';
/** Of our own opening alone: what the shell has open still waits. */
const WITHOUT_WAITING = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOCTTY;
/** The longest line that a terminal collects (termios(3), canonical mode). */
const LINE_BYTES = 4096;

/**
 * Asks the person at the terminal, whose settings stay as they are: it collects and shows the line, and its Ctrl-C
 * comes as SIGINT.
 * @throws AppError `refused` when there is no terminal, or the answer is not yes; `stopped`; `unavailable` when the
 *   terminal fails
 */
export async function confirm(
  lines: readonly string[],
  question: string,
  signal: AbortSignal,
): Promise<void> {
  const terminal = openTerminal(lines);
  try {
    writeSync(terminal, `${lines.join('\n')}\n${question} [yN] `);
    const answer = await readLine(terminal, signal);
    if (!answer.endsWith('\n')) writeSync(terminal, '\n');
    if (signal.aborted)
      throw new AppError('stopped', `stopped before ${JSON.stringify(question)} was answered`);
    if (!/^\s*y(es)?\s*\n$/i.test(answer)) throw new AppError('refused', 'the answer was no');
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('unavailable', `${TERMINAL}: failed (${errnoOf(cause)})`, { cause });
  } finally {
    closeSync(terminal);
  }
}

function openTerminal(lines: readonly string[]): number {
  try {
    return openSync(TERMINAL, WITHOUT_WAITING);
  } catch (cause) {
    throw new AppError('refused', `no terminal to ask at: ${lines.join(' ')}`, {
      cause,
      hint: 'compare with tang-show-keys on the server and give "thp" or "adv", or trust whatever is there with -y',
    });
  }
}

/**
 * Looks now and then instead of waiting in read(2): a thread that waits there holds the process until Enter is
 * pressed once more.
 * @returns what came without a newline at its end when the input ended, or `signal` aborted, before one did
 */
async function readLine(terminal: number, signal: AbortSignal): Promise<string> {
  const line = Buffer.alloc(LINE_BYTES);
  while (!signal.aborted) {
    try {
      return line.toString('utf8', 0, readSync(terminal, line));
    } catch (cause) {
      if (errnoOf(cause) !== 'EAGAIN') throw cause;
    }
    await pause(limits.answerPollMs, undefined, { signal }).catch(() => {});
  }
  return '';
}

function errnoOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
}
