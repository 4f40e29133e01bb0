import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { DEFAULT_PROGRAM } from './activation.ts';
import { run } from './run.ts';

/** What a process came to, seen from outside. */
export interface Ended {
  /** Exit status; null when a signal ended it. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** For a shell: `$FETCH_LUKS_KEY ARGS` runs the program. */
const IN_SHELL = { FETCH_LUKS_KEY: DEFAULT_PROGRAM.join(' '), SHELL: '/bin/sh', PATH: '/usr/bin:/bin' };

/** Runs `fetch-luks-key ARGS` to its end, without a terminal. @param input its standard input @param wrapper what starts it */
export async function fetchLuksKey(
  args: readonly string[],
  input: string | Uint8Array = '',
  environment: Readonly<Record<string, string>> = {},
  wrapper: readonly string[] = [],
): Promise<Ended> {
  // A session of its own has no terminal, also where the tests are started from one.
  const program = ['/usr/bin/setsid', '--wait', ...wrapper, ...DEFAULT_PROGRAM, ...args];
  const { stdout, ...rest } = await run(program, Buffer.from(input), environment);
  return { ...rest, stdout: stdout.toString() };
}

/** Runs a shell's command, with `$FETCH_LUKS_KEY`, to its end. */
export async function shell(command: string): Promise<Ended> {
  const { stdout, ...rest } = await run(['/bin/sh', '-c', command], Buffer.alloc(0), IN_SHELL);
  return { ...rest, stdout: stdout.toString() };
}

/** One that runs. */
export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves once it waits for standard input. */
  reads(): Promise<void>;
}

/** Starts `fetch-luks-key ARGS`; its standard input stays open, and nothing comes. */
export function startFetchLuksKey(t: Test, args: readonly string[]): Started {
  const [program = '', ...rest] = [...DEFAULT_PROGRAM, ...args];
  const child = spawn(program, rest, { stdio: 'pipe', env: {} });
  const status = new Promise<number | null>((resolve) => child.once('close', resolve));
  t.teardown(() => child.kill('SIGKILL'));
  const ended = Promise.all([status, text(child.stdout), text(child.stderr)]);
  return {
    child,
    ended: ended.then(([code, stdout, stderr]) => ({ status: code, stdout, stderr })),
    async reads() {
      // Node watches what it waits for through epoll: fd 0 is listed there once it reads (proc_pid_fdinfo(5)).
      while (!watched(child.pid ?? 0)) await pause(10);
    },
  };
}

function watched(pid: number): boolean {
  const folder = `/proc/${pid}/fdinfo`;
  return readdirSync(folder).some((fd) => {
    try {
      return /^tfd: +0 /m.test(readFileSync(`${folder}/${fd}`, 'utf8'));
    } catch {
      return false;
    }
  });
}

/**
 * It failed as every command must: its exit status, nothing on standard output, one line on standard error, lower
 * case, no full stop.
 */
export function fails(t: Test, title: string, ended: Ended, status: number, line: RegExp): void {
  const [first = '', ...more] = ended.stderr.split('\n');
  t.strictSame({ status: ended.status, stdout: ended.stdout }, { status, stdout: '' }, title);
  t.strictSame(more, [''], `${title}: one line`, { stderr: ended.stderr });
  t.match(first, /^fetch-luks-key: [^A-Z]/, `${title}: begins as all do`);
  t.notMatch(first, /\.(?: \(hint: .*\))?$|\.\)$/, `${title}: no full stop`);
  t.match(first.slice('fetch-luks-key: '.length), line, `${title}: what it says`);
}

/** A person at a terminal. */
export interface Terminal {
  /** Resolves once the screen shows `words`; rejects when the command ended without. */
  shows(words: string): Promise<void>;
  /** Keys, `\n` for Enter. */
  press(keys: string): void;
  /** Everything that was shown, Enter's echo included, lines ending in `\n`; and the command's exit status. */
  readonly ended: Promise<{ readonly status: number | null; readonly screen: string }>;
}

/** Runs a shell's command, with `$FETCH_LUKS_KEY`, in `folder` and at a terminal. @param environment for it too */
export function atTerminal(
  t: Test,
  folder: string,
  command: string,
  environment: Readonly<Record<string, string>> = {},
): Terminal {
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    cwd: folder,
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      PATH: '/usr/bin:/bin',
      SHELL: '/bin/sh',
      FETCH_LUKS_KEY: DEFAULT_PROGRAM.join(' '),
      ...environment,
    },
  });
  t.teardown(() => child.kill());
  let screen = '';
  let look = () => {};
  child.stdout.setEncoding('utf8').on('data', (shown: string) => {
    screen += shown.replaceAll('\r\n', '\n');
    look();
  });
  const ended = new Promise<{ status: number | null; screen: string }>((resolve) => {
    child.once('close', (status) => resolve({ status, screen }));
  });
  return {
    ended,
    press: (keys) => void child.stdin.write(keys),
    shows: (words) =>
      new Promise((resolve, reject) => {
        look = () => {
          if (screen.includes(words)) resolve();
        };
        look();
        void ended.then(() => reject(new Error(`expected ${words} at the terminal, got ${screen}`)));
      }),
  };
}
