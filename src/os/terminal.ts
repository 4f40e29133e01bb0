import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { Secret } from '../base/secret.ts';
import { withoutEcho } from './libc.ts';

/** The controlling terminal (tty(4)); standard input need not be one: it carries the secret. */
const TERMINAL = '/dev/tty';
/** Of our own opening alone: what the shell has open still waits. */
const WITHOUT_WAITING = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOCTTY;
/** The longest line that a terminal collects (termios(3), canonical mode). */
const LINE_BYTES = 4096;
const NEWLINE = 0x0a;

/**
 * Asks the person at the terminal, whose settings stay as they are: it collects and shows the line, and its Ctrl-C
 * comes as SIGINT.
 * @param hint for who has no terminal
 * @throws AppError `refused` when there is no terminal, or the answer is not yes; `stopped`; `unavailable` when the
 *   terminal fails
 */
export async function confirm(
  lines: readonly string[],
  question: string,
  hint: string,
  signal: AbortSignal,
): Promise<void> {
  const line = await answerTo({ lines, question, after: ' [yN] ', hint }, signal);
  if (!/^\s*y(es)?\s*\n$/i.test(line)) throw new AppError('refused', 'the answer was no');
}

/**
 * Asks for a name that is known, so that nobody goes on by a slip of the hand.
 * @param hint for who has no terminal
 * @throws AppError as `confirm`: `refused` for any other name
 */
export async function confirmName(
  { lines, name, hint }: { readonly lines: readonly string[]; readonly name: string; readonly hint: string },
  signal: AbortSignal,
): Promise<void> {
  const line = await answerTo({ lines, question: 'Type its name to go on:', after: ' ', hint }, signal);
  if (line.trim() === name && line.endsWith('\n')) return;
  throw new AppError('refused', `what was typed is not ${JSON.stringify(name)}: nothing was done`);
}

interface Question {
  readonly lines: readonly string[];
  readonly question: string;
  readonly after: string;
  readonly hint: string;
}

/** @returns the line with its end, if it had one @throws AppError as `confirm` */
async function answerTo({ lines, question, after, hint }: Question, signal: AbortSignal): Promise<string> {
  const line = await atTerminal({ lines, hint }, async (terminal) => {
    writeSync(terminal, `${lines.join('\n')}\n${question}${after}`);
    const typed = await readLine(terminal, signal);
    if (typed.at(-1) !== NEWLINE) writeSync(terminal, '\n');
    return typed;
  });
  if (!signal.aborted) return line.toString();
  throw new AppError('stopped', `stopped before ${JSON.stringify(question)} was answered`);
}

/**
 * Asks for a passphrase, which is not shown.
 * @param hint for who has no terminal
 * @returns the line without its end
 * @throws AppError `refused` when there is no terminal, or the input ends; `stopped`; `unavailable` when the terminal
 *   fails
 */
export async function askPassphrase(question: string, hint: string, signal: AbortSignal): Promise<Secret> {
  const line = await atTerminal({ lines: [question], hint }, async (terminal) => {
    const restore = withoutEcho(terminal);
    try {
      writeSync(terminal, `${question} `);
      return await readLine(terminal, signal);
    } finally {
      restore();
      writeSync(terminal, '\n');
    }
  });
  if (signal.aborted) throw new AppError('stopped', 'stopped before a passphrase was given');
  if (line.at(-1) !== NEWLINE) throw new AppError('refused', 'no passphrase was given');
  const secret = Secret.takeFrom(line.subarray(0, -1));
  line.fill(0);
  return secret;
}

/** @param without what to say where there is no terminal */
async function atTerminal<T>(
  without: { readonly lines: readonly string[]; readonly hint: string },
  work: (terminal: number) => Promise<T>,
): Promise<T> {
  const terminal = openTerminal(without);
  try {
    return await work(terminal);
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('unavailable', `${TERMINAL}: failed (${errnoOf(cause)})`, { cause });
  } finally {
    closeSync(terminal);
  }
}

function openTerminal({ lines, hint }: { readonly lines: readonly string[]; readonly hint: string }): number {
  try {
    return openSync(TERMINAL, WITHOUT_WAITING);
  } catch (cause) {
    throw new AppError('refused', `no terminal to ask at: ${lines.join(' ')}`, { cause, hint });
  }
}

/**
 * Looks now and then instead of waiting in read(2): a thread that waits there holds the process until Enter is
 * pressed once more.
 * @returns what came without a newline at its end when the input ended, or `signal` aborted, before one did
 */
async function readLine(terminal: number, signal: AbortSignal): Promise<Buffer> {
  const line = Buffer.allocUnsafeSlow(LINE_BYTES);
  while (!signal.aborted) {
    try {
      return line.subarray(0, readSync(terminal, line));
    } catch (cause) {
      if (errnoOf(cause) !== 'EAGAIN') throw cause;
    }
    await pause(limits.answerPollMs, undefined, { signal }).catch(() => {});
  }
  return Buffer.alloc(0);
}

function errnoOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
}
