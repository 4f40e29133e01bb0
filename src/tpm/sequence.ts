import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Argument, HeldLock, Locks, MemoryFile, MemoryFiles, RunResult } from '../base/ports.ts';
import type { Secret } from '../base/secret.ts';
import { afterThisTurn } from '../base/turn.ts';
import type { HashName } from './pcrs.ts';
import { isSessionHandle, savedSessionHandle } from './structures.ts';
import type { Tools } from './tools.ts';

/** In the lock while a sequence runs that has no session yet. */
const UNDER_WAY = 'under way';

/** tpm2-tools' session file is 650 bytes on swtpm; a context is at most 2 KiB or so. */
const SESSION_FILE_BYTES = 8 * 1024;

export interface Finished<T> {
  readonly value: T;
  /** Fulfilled, never rejected, once nothing of the sequence is left in the TPM and the next may begin. */
  readonly settled: Promise<void>;
}

/**
 * Runs several tools as one sequence: no other sequence on this TPM at the same time, and whatever way it ends, its
 * session is flushed. The TPM has 64 session handles, and neither the kernel nor a tool's end gives one back that was
 * saved to a file. What a process that was killed leaves is named in the lock, and flushed by the next.
 * @param signal aborts the sequence: no further tool starts, but for those that clean up
 * @throws AppError what the tools and `work` throw; `unavailable` (lock not to be had), `stopped`
 */
export async function inSequence<T>(
  tools: Tools,
  ports: { readonly locks: Locks; readonly memoryFiles: MemoryFiles },
  signal: AbortSignal,
  work: (sequence: Sequence) => Promise<T>,
): Promise<Finished<T>> {
  const lock = await ports.locks.acquire(lockName(tools.tcti), limits.tpmLockWaitMs, signal);
  const sequence = new Sequence(tools, ports.memoryFiles, lock, signal);
  try {
    await sequence.begin();
    const value = await work(sequence);
    // Starting a process takes some milliseconds, and who waits for the value can use it first.
    return { value, settled: afterThisTurn().then(() => sequence.end('orderly')) };
  } catch (thrown) {
    await sequence.end('disorderly');
    throw thrown;
  }
}

/** One lock for each TPM; a file's name has at most 255 bytes, and no slash. */
export function lockName(tcti: string): string {
  return `tpm-${tcti.replaceAll(/[^A-Za-z0-9]+/g, '-').slice(-200)}`;
}

/** What a sequence's work may do. */
export class Sequence {
  readonly #tools: Tools;
  readonly #memoryFiles: MemoryFiles;
  readonly #lock: HeldLock;
  readonly #signal: AbortSignal;
  readonly #files: MemoryFile[] = [];
  #sessionFile: MemoryFile | null = null;
  #session: number | null = null;

  constructor(tools: Tools, memoryFiles: MemoryFiles, lock: HeldLock, signal: AbortSignal) {
    this.#tools = tools;
    this.#memoryFiles = memoryFiles;
    this.#lock = lock;
    this.#signal = signal;
  }

  /** @throws AppError when what a predecessor left cannot be cleaned up: then the TPM does not answer */
  async begin(): Promise<void> {
    if (this.#lock.leftBehind !== '') {
      this.#session = sessionIn(this.#lock.leftBehind);
      await this.#sweep('disorderly');
    }
    this.#lock.note(UNDER_WAY);
  }

  /** A file in memory, until the sequence ends. */
  file(contents?: Uint8Array): MemoryFile {
    const file = this.#memoryFiles.create(contents);
    this.#files.push(file);
    return file;
  }

  /** @returns the tool's standard output @throws AppError what `Tools.run` throws */
  run(tool: string, args: readonly Argument[], stdin?: Uint8Array): Promise<Buffer> {
    return this.#tools.run(tool, args, this.#signal, stdin);
  }

  /** As `run`, but a failure that the TPM or the tool reports is returned. */
  attempt(tool: string, args: readonly Argument[]): Promise<RunResult> {
    return this.#tools.attempt(tool, args, this.#signal);
  }

  /** What a failure that `attempt` returned means. */
  explain(tool: string, result: RunResult): Promise<AppError> {
    return this.#tools.explain(tool, result, this.#signal);
  }

  /**
   * A session that encrypts the first parameter of commands and responses (TPM 2.0 Part 1 §21), with a key that only
   * who holds the private half of `saltKey` can derive (§19.6.8).
   * @param policyHash null for an HMAC session, else a policy session's hash
   */
  async startSession(saltKey: MemoryFile, policyHash: HashName | null): Promise<MemoryFile> {
    const file = this.file();
    this.#sessionFile = file;
    const kind = policyHash === null ? ['--hmac-session'] : ['--policy-session', '-g', policyHash];
    await this.run('tpm2_startauthsession', [...kind, '-c', saltKey, '-S', file]);
    this.#session = savedSessionHandle(file.read(SESSION_FILE_BYTES));
    if (this.#session === null) {
      throw new AppError('unavailable', 'tpm2_startauthsession: expected a saved session, got another file');
    }
    this.#lock.note(noteFor(this.#session));
    return file;
  }

  /**
   * Without a resource manager each tool leaves the objects that it loaded in the TPM, which has room for three.
   * For where the next tool would not find room; at the end it happens by itself.
   */
  async freeObjects(): Promise<void> {
    if (!this.#tools.hasResourceManager) await this.#tools.flush('-t');
  }

  /** Cleans up and releases the lock. When the TPM does not answer, the note stays for the next sequence. */
  async end(manner: 'orderly' | 'disorderly'): Promise<void> {
    try {
      // A tool that was stopped may have written its file all the same.
      this.#session ??= savedSessionHandle(this.#sessionFile?.read(SESSION_FILE_BYTES) ?? Buffer.alloc(0));
      await this.#sweep(manner);
      this.#lock.note('');
    } catch {
      // The reason is the same that the sequence itself failed for, or will be that of the next.
    } finally {
      for (const file of this.#files) file[Symbol.dispose]();
      this.#lock[Symbol.dispose]();
    }
  }

  /**
   * The resource manager takes back what a killed tool had loaded; without one, we do. A session whose handle nobody
   * could note is flushed only there, where nobody else works with the TPM: elsewhere it could be another program's.
   */
  async #sweep(manner: 'orderly' | 'disorderly'): Promise<void> {
    const session = this.#session;
    if (session !== null) await this.#tools.flush(session);
    this.#session = null;
    this.#sessionFile = null;
    if (this.#tools.hasResourceManager) return;
    if (manner === 'disorderly') {
      await this.#tools.flush('-l');
      if (session === null) await this.#tools.flush('-s');
    }
    await this.#tools.flush('-t');
  }
}

/** Authorizes by the session, whose encryption then covers the command. */
export function bySession(session: MemoryFile): { readonly prefix: string; readonly file: MemoryFile } {
  return { prefix: 'session:', file: session };
}

/** Authorizes by a password: from a file in memory, as everybody can read a tool's arguments. */
export function byPassword(
  sequence: Sequence,
  password: Secret,
): { readonly prefix: string; readonly file: MemoryFile } {
  return { prefix: 'file:', file: sequence.file(password.reveal()) };
}

function noteFor(session: number): string {
  return `session 0x${session.toString(16).padStart(8, '0')}`;
}

function sessionIn(note: string): number | null {
  const found = /^session 0x([0-9a-f]{8})$/.exec(note);
  const handle = Number.parseInt(found?.[1] ?? '0', 16);
  return isSessionHandle(handle) ? handle : null;
}
