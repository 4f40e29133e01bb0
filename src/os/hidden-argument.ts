import type { ChildProcess } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Secret } from '../base/secret.ts';
import { makeFifo } from './libc.ts';
import { makeScratchFolder } from './scratch-folder.ts';

const POLL_MS = 2;
const POINTER_BYTES = 8n;

/** Name of the environment variable whose place in the child's memory takes the secret. */
const ROOM = 'HIDDEN_ARGUMENT';

/**
 * The last argument of a child process, hidden. Everybody may read the arguments that a program was started with, for
 * as long as it runs: /proc/PID/cmdline has mode 0444, and is the same in the parents' namespaces. The environment is
 * for root and the process's own user (ptrace(2), PTRACE_MODE_READ; proc_pid_environ(5)).
 *
 * So the child is started with `placeholder`, and with room in its environment. Before main() runs, the loader opens
 * what LD_PRELOAD names (ld.so(8)): a FIFO, where it waits. Meanwhile the secret is written into that room, and the
 * pointer to the placeholder is turned to it (/proc/PID/mem). Then the FIFO ends, empty, and the loader goes on. At no
 * moment is the secret in an argument, a file, or an environment that was passed.
 */
export class HiddenArgument implements Disposable {
  readonly placeholder = '[secret]';
  readonly environment: Readonly<Record<string, string>>;
  readonly #secret: Secret;
  readonly #folder = makeScratchFolder();

  /** @throws AppError `unavailable` */
  constructor(secret: Secret) {
    this.#secret = secret;
    makeFifo(this.#fifo);
    this.environment = { LD_PRELOAD: this.#fifo, [ROOM]: 'x'.repeat(secret.length) };
  }

  /** Resolves when the child has it. @throws Error when it has ended without, or its memory cannot be written */
  async handOver(child: ChildProcess): Promise<void> {
    const fifo = await this.#untilOpened(child);
    try {
      this.#write(child.pid ?? 0);
    } finally {
      // Before the loader goes on: what the child starts inherits its environment, and would wait there for ever.
      this.#folder.remove('wait');
      closeSync(fifo);
    }
  }

  /** What the loader says of a FIFO that is no library, and goes on. */
  withoutTraces(stderr: string): string {
    return stderr
      .split('\n')
      .filter((line) => !line.includes(this.#fifo))
      .join('\n');
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }

  get #fifo(): string {
    return `${this.#folder.path}/wait`;
  }

  /** A writer that does not wait gets ENXIO until there is a reader (fifo(7)), which then waits for it. */
  async #untilOpened(child: ChildProcess): Promise<number> {
    while (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      try {
        return openSync(this.#fifo, constants.O_WRONLY | constants.O_NONBLOCK);
      } catch (thrown) {
        if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'ENXIO')) throw thrown;
      }
      await pause(POLL_MS);
    }
    throw new Error('it has ended before its loader waited');
  }

  #write(pid: number): void {
    const { stack, argumentsStart, environmentStart, environmentEnd } = layoutOf(pid);
    const memory = openSync(`/proc/${pid}/mem`, constants.O_RDWR);
    try {
      const environment = read(memory, environmentStart, Number(environmentEnd - environmentStart));
      const at = environment.indexOf(`\0${ROOM}=`);
      // argc, then the pointers to the arguments (System V ABI, process initialization).
      const count = read(memory, stack, 8).readBigUInt64LE();
      const pointerAt = stack + count * POINTER_BYTES;
      const last = read(memory, pointerAt, 8).readBigUInt64LE();
      const shown = read(memory, last, this.placeholder.length).toString('latin1');
      if (at < 0 || last < argumentsStart || last >= environmentStart || shown !== this.placeholder) {
        throw new Error('its memory is not laid out as expected');
      }
      const room = environmentStart + BigInt(at + ROOM.length + 2);
      write(memory, room, this.#secret.reveal());
      const pointer = Buffer.alloc(8);
      pointer.writeBigUInt64LE(room);
      write(memory, pointerAt, pointer);
    } finally {
      closeSync(memory);
    }
  }
}

/** Addresses in a process, for whoever may trace it (proc_pid_stat(5), fields 28, 48, 50 and 51); 0 for others. */
function layoutOf(
  pid: number,
): Record<'stack' | 'argumentsStart' | 'environmentStart' | 'environmentEnd', bigint> {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The second field, in parentheses, may hold anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const field = (number: number) => BigInt(fields[number - 3] ?? 0);
  return {
    stack: field(28),
    argumentsStart: field(48),
    environmentStart: field(50),
    environmentEnd: field(51),
  };
}

function read(memory: number, at: bigint, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  if (readSync(memory, bytes, 0, length, at) === length) return bytes;
  throw new Error('its memory cannot be read');
}

/** node:fs writes at numbers alone, and the top of a stack is below 2^47 (x86-64) or 2^48 (arm64), exact as one. */
function write(memory: number, at: bigint, bytes: Uint8Array): void {
  if (writeSync(memory, bytes, 0, bytes.length, Number(at)) === bytes.length) return;
  throw new Error('its memory cannot be written');
}
