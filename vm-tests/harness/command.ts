import { spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

/** The harness itself failed, or a guest in a way that no scenario expects: says in which step, and where the log is. */
export class HarnessError extends Error {
  readonly step: string;
  readonly log: string | undefined;

  constructor(step: string, reason: string, log?: string) {
    super(`${step}: ${reason}${log === undefined ? '' : ` (log: ${log})`}`);
    this.name = 'HarnessError';
    this.step = step;
    this.log = log;
  }
}

export interface CommandOptions {
  /** What it is for, in messages. */
  readonly step: string;
  /** File that gets what it prints. */
  readonly log: string;
  readonly timeoutMs: number;
  readonly environment?: Readonly<Record<string, string>>;
  /** Exit statuses that are no failure; default 0 alone. */
  readonly accept?: readonly number[];
}

const ENVIRONMENT = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C.UTF-8',
  DEBIAN_FRONTEND: 'noninteractive',
};

/** How much of a log goes into a message. */
const LOG_END_BYTES = 2000;

/**
 * Runs a program to its end, and ends it with all that it started when its time is over.
 * @returns its exit status, one of `accept`
 * @throws HarnessError when it is missing, fails or is out of time
 */
export async function command(
  [program = '', ...args]: readonly string[],
  options: CommandOptions,
): Promise<number> {
  const { step, log, timeoutMs, environment, accept = [0] } = options;
  const output = openSync(log, 'a');
  const ended = await new Promise<string | number>((resolve) => {
    // A group of its own, so that all of it can be ended.
    const child = spawn(program, args, {
      stdio: ['ignore', output, output],
      env: { ...ENVIRONMENT, ...environment },
      detached: true,
    });
    const killed = `still running after ${timeoutMs / 1000} s`;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    }, timeoutMs);
    child.on('error', (error) => resolve(error.message));
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      resolve(late ? killed : (status ?? `ended by ${signal}`));
    });
  }).finally(() => closeSync(output));
  if (typeof ended === 'number' && accept.includes(ended)) return ended;
  const reason = typeof ended === 'number' ? `exit status ${ended}` : ended;
  throw new HarnessError(step, `${program}: ${reason}${endOf(log)}`, log);
}

/**
 * Runs a program that is soon done.
 * @returns what it printed to standard output
 * @throws HarnessError when it is missing or fails
 */
export function outputOf(step: string, [program = '', ...args]: readonly string[], input = ''): string {
  const { status, signal, error, stdout, stderr } = spawnSync(program, args, { input, encoding: 'utf8' });
  if (error !== undefined) throw new HarnessError(step, `${program}: ${error.message}`);
  if (status === 0) return stdout;
  throw new HarnessError(step, `${program}: exit status ${status ?? signal}; it printed:\n${stderr.trim()}`);
}

function endOf(log: string): string {
  const text = readFileSync(log, 'utf8').trim();
  return text === '' ? '' : `; it printed:\n${text.slice(-LOG_END_BYTES)}\n`;
}
