import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Argument, MemoryFile, Runner, RunOptions, RunResult } from '../base/ports.ts';
import type { Secret } from '../base/secret.ts';
import { HiddenArgument } from './hidden-argument.ts';

/** A child's whole environment, but for what its caller adds: nothing of ours reaches it by accident. */
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' } as const;

/** stdin, stdout and stderr come before the memory files. */
const FIRST_FILE = 3;

/** The one place that starts child processes. Its errors never hold what a child printed. */
export const runner: Runner = {
  async run(tool, args, options) {
    if (options.signal?.aborted) throw stopped(tool);
    const { hiddenArgument: secret } = options;
    if (secret !== undefined) return await runHiding(secret, tool, args, options);
    return await new Run(start(tool, args, options), tool, options).finished;
  },
};

async function runHiding(
  secret: Secret,
  tool: string,
  args: readonly Argument[],
  options: RunOptions,
): Promise<RunResult> {
  using hidden = new HiddenArgument(secret);
  const environment = { ...options.environment, ...hidden.environment };
  const child = start(tool, [...args, hidden.placeholder], { ...options, environment });
  const run = new Run(child, tool, options);
  const fault = hidden.handOver(child).then(
    () => null,
    (cause) =>
      run.giveUp(`cannot hide an argument: ${cause instanceof Error ? cause.message : String(cause)}`),
  );
  const [result, error] = await Promise.all([run.finished, fault]);
  if (error !== null) throw error;
  return { ...result, stderr: hidden.withoutTraces(result.stderr) };
}

function start(tool: string, args: readonly Argument[], options: RunOptions): ChildProcess {
  const files = [...new Set(args.map(fileOf).filter((file) => file !== null))];
  const texts = args.map((argument) => asText(argument, files));
  try {
    return spawn(tool, texts, {
      cwd: '/',
      env: { ...ENVIRONMENT, ...options.environment },
      stdio: [
        options.stdin === undefined ? 'ignore' : 'pipe',
        'pipe',
        'pipe',
        ...files.map((file) => file.fd),
      ],
      // A process group of its own: it ends with its children, and a terminal's Ctrl-C leaves ending it to us.
      detached: true,
    });
  } catch (cause) {
    throw notStarted(tool, cause);
  }
}

/** One child from start to end. The promise settles when the child is gone, never before. */
class Run {
  readonly finished: Promise<RunResult>;
  readonly #child: ChildProcess;
  readonly #tool: string;
  readonly #stdout = new Capture();
  readonly #stderr = new Capture();
  readonly #timers: NodeJS.Timeout[] = [];
  /** Why the child is being ended; the first reason counts. */
  #reason: AppError | null = null;
  #ending = false;

  constructor(child: ChildProcess, tool: string, options: RunOptions) {
    this.#child = child;
    this.#tool = tool;
    const { promise, resolve, reject } = Promise.withResolvers<RunResult>();
    const onAbort = () => this.#abort(options.abortGraceMs ?? 0);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    this.finished = promise.finally(() => {
      for (const timer of this.#timers) clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
    });
    this.#after(options.timeoutMs, () => this.#end(`no result within ${options.timeoutMs / 1000} s`));
    this.#collect('output', child.stdout, this.#stdout, options.maxOutputBytes);
    this.#collect('error output', child.stderr, this.#stderr, options.maxOutputBytes);
    // A child that does not read gives EPIPE: its exit status tells what happened.
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.stdin);
    child.on('error', (cause) => reject(notStarted(tool, cause)));
    child.on('close', (status, killedBy) => {
      const stdout = this.#stdout.take();
      const error = this.#reason ?? (status === null ? unavailable(tool, `killed by ${killedBy}`) : null);
      if (status !== null && error === null) {
        resolve({ status, stdout, stderr: this.#stderr.take().toString() });
      } else {
        stdout.fill(0);
        reject(error);
      }
    });
  }

  /** @returns why, which may be too late for `finished` */
  giveUp(why: string): AppError {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#end(why);
    return unavailable(this.#tool, why);
  }

  #collect(name: string, stream: Readable | null, capture: Capture, maxBytes: number): void {
    stream?.on('data', (chunk: Buffer) => {
      if (!capture.add(chunk, maxBytes)) this.#end(`expected at most ${maxBytes} bytes of ${name}, got more`);
    });
  }

  #abort(graceMs: number): void {
    this.#reason ??= stopped(this.#tool);
    this.#after(graceMs, () => this.#end('stopped'));
  }

  /** SIGTERM, then SIGKILL, to the child's process group; who holds its pipes after that is not waited for. */
  #end(why: string): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#reason ??= unavailable(this.#tool, why);
    this.#signal('SIGTERM');
    this.#after(limits.childKillGraceMs, () => {
      this.#signal('SIGKILL');
      this.#child.stdout?.destroy();
      this.#child.stderr?.destroy();
    });
  }

  #signal(name: NodeJS.Signals): void {
    if (this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, name);
    } catch {
      // The group is gone already.
    }
  }

  #after(ms: number, action: () => void): void {
    this.#timers.push(setTimeout(action, ms));
  }
}

/** Output up to a limit; each chunk is wiped once it has been copied. */
class Capture {
  #chunks: Buffer[] = [];
  #bytes = 0;

  /** @returns false when that is more than `maxBytes` in all: the chunk is dropped */
  add(chunk: Buffer, maxBytes: number): boolean {
    if (this.#bytes + chunk.length > maxBytes) {
      chunk.fill(0);
      return false;
    }
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    return true;
  }

  take(): Buffer {
    const whole = Buffer.allocUnsafeSlow(this.#bytes);
    let at = 0;
    for (const chunk of this.#chunks) {
      at += chunk.copy(whole, at);
      chunk.fill(0);
    }
    this.#chunks = [];
    return whole;
  }
}

function fileOf(argument: Argument): MemoryFile | null {
  if (typeof argument === 'string') return null;
  return 'file' in argument ? argument.file : argument;
}

/** The child sees its descriptors by path (proc_pid_fd(5)); opening one gives it an offset of its own. */
function asText(argument: Argument, files: readonly MemoryFile[]): string {
  if (typeof argument === 'string') return argument;
  const [prefix, file] = 'file' in argument ? [argument.prefix, argument.file] : ['', argument];
  return `${prefix}/proc/self/fd/${FIRST_FILE + files.indexOf(file)}`;
}

function stopped(tool: string): AppError {
  return new AppError('stopped', `${tool}: stopped`);
}

function unavailable(tool: string, what: string): AppError {
  return new AppError('unavailable', `${tool}: ${what}`);
}

function notStarted(tool: string, cause: unknown): AppError {
  const errno = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
  const missing = errno === 'ENOENT' || errno === 'EACCES';
  return new AppError(missing ? 'tool-missing' : 'unavailable', `${tool}: cannot be started (${errno})`, {
    cause,
  });
}
