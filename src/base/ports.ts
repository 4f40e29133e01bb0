import type { Secret } from './secret.ts';

/** What the core asks of the outside world. `os/` implements these; tests may too. */

export interface Clock {
  /** Monotonic milliseconds since an arbitrary start. */
  nowMs(): number;
  /** @throws AppError `stopped` once `signal` aborts */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export interface Random {
  bytes(count: number): Buffer;
  /** Uniform in [0, 1), for jitter only. */
  fraction(): number;
}

/** A file that has no name and lives in memory alone (memfd_create(2)): gone with the process that made it. */
export interface MemoryFile extends Disposable {
  readonly fd: number;
  /** @throws AppError `unavailable` when it holds more than `maxBytes` */
  read(maxBytes: number): Buffer;
}

export interface MemoryFiles {
  create(contents?: Uint8Array): MemoryFile;
}

/** An argument of a child process; a memory file becomes the path under which the child sees it. */
export type Argument = string | MemoryFile | { readonly prefix: string; readonly file: MemoryFile };

export interface RunOptions {
  readonly stdin?: Uint8Array;
  /** Added to a fixed environment (`PATH`, `LC_ALL=C`). Never a secret. */
  readonly environment?: Readonly<Record<string, string>>;
  /**
   * One more argument, the last, for a program that takes a secret in no other way: all that others see in its place, in
   * /proc/PID/cmdline, is `[secret]`. For programs that are dynamically linked.
   */
  readonly hiddenArgument?: Secret;
  readonly timeoutMs: number;
  readonly maxOutputBytes: number;
  readonly signal?: AbortSignal;
  /** Milliseconds that the child still gets after `signal` aborts, before SIGTERM; default 0. */
  readonly abortGraceMs?: number;
}

export interface RunResult {
  /** Exit status; a child that a signal ended throws `unavailable` instead. */
  readonly status: number;
  /** May hold a secret: never put it into an error. */
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface Runner {
  /**
   * @param tool absolute path
   * @throws AppError `tool-missing`; `unavailable` (time limit, output limit, killed by a signal, no way to hide the
   *   argument that is to be hidden); `stopped`
   */
  run(tool: string, args: readonly Argument[], options: RunOptions): Promise<RunResult>;
}

/** A lock between processes that ends with its holder. `note` outlives a holder that was killed. */
export interface HeldLock extends Disposable {
  /** What the last holder had written and not cleared: it died in the middle. */
  readonly leftBehind: string;
  note(text: string): void;
}

export interface Locks {
  /** @throws AppError `unavailable` (not to be had within `waitMs`); `stopped` */
  acquire(name: string, waitMs: number, signal: AbortSignal): Promise<HeldLock>;
}

export interface Files {
  /**
   * @returns null when there is no such file
   * @throws AppError `bad-config` (unreadable, not a file, larger than `maxBytes`)
   */
  read(path: string, maxBytes: number): Promise<Buffer | null>;
  /**
   * `length` bytes at `offset` of a file or block device, fewer at its end.
   * @throws AppError `unavailable` (no such device yet, unreadable)
   */
  readRange(path: string, offset: number, length: number): Promise<Buffer>;
  /** Names in a folder, sorted; empty when there is no such folder. */
  list(path: string): Promise<string[]>;
  /** Permission bits (inode(7)), 0 to 0o7777; null when there is no such file. @throws AppError `bad-config` */
  mode(path: string): Promise<number | null>;
}

/** A folder for the files that another program is to read, gone when it is disposed of. */
export interface ScratchFolder extends Disposable {
  readonly path: string;
  /** Makes a folder in it; nothing when it is there. @throws AppError `unavailable` */
  folder(name: string): void;
  /** A file in it, and the folders that it needs. Never a secret. @throws AppError `unavailable` */
  write(name: string, text: string): void;
  /** A file, or a folder with all that is in it. @throws AppError `unavailable` */
  remove(name: string): void;
}

/** Files that must still be there, whole, after the power failed. Synchronous: what follows waits for the disk. */
export interface DurableFiles {
  /** Bytes; null when there is no such file. @throws AppError `unavailable` */
  size(path: string): number | null;
  /** An empty file of mode 0600 in place of any other. @throws AppError `unavailable` */
  create(path: string): void;
  /**
   * New contents in one go for a file, or the one that a link names, which keeps its mode and owner; a new one gets
   * 0600. Whoever reads meanwhile gets all of the old or all of the new.
   * @throws AppError `unavailable` (no room, not writable)
   */
  replace(path: string, contents: Uint8Array): void;
  /** @throws AppError `unavailable` */
  rename(from: string, to: string): void;
  /** Nothing when there is no such file. @throws AppError `unavailable` */
  remove(path: string): void;
  /** Of mode 0700; nothing when it is there. @throws AppError `unavailable` */
  makeFolder(path: string): void;
  /** Whole lines, without a last one that was cut off; none when there is no file. @throws AppError `unavailable` */
  lines(path: string): string[];
  /**
   * Adds lines, all or none, to a file of mode 0600 that is made if there is none.
   * @throws AppError `unavailable` (no room, not writable)
   */
  append(path: string, lines: readonly string[]): void;
}

export interface TlsSettings {
  /** PEM; the system's store when absent. */
  readonly ca?: Buffer;
  /**
   * SHA-256 of the SubjectPublicKeyInfo of each key that the server may have. Given, the key alone decides: name, dates
   * and issuer do not.
   */
  readonly pinsSha256?: readonly Buffer[];
  /** PEM of the client's certificate and its key. */
  readonly clientCertificate?: Buffer;
  readonly clientKey?: Buffer;
  /** 1.3 for our own server: before it, who asks is shown to everybody on the way. Default 1.2, for the others. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST';
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly tls?: TlsSettings;
  /** null = the status is all that matters: no body is read. */
  readonly maxBodyBytes: number | null;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface HttpResponse {
  readonly status: number;
  /** May hold a secret. */
  readonly body: Buffer;
}

export interface Http {
  /**
   * One exchange, no redirect followed, nothing kept for a later one.
   * @throws AppError `unavailable` (anything between us and a complete answer, its size and time included);
   *   `bad-config` (unusable `ca`, certificate or key); `stopped`
   */
  request(request: HttpRequest): Promise<HttpResponse>;
}

/** A service of this machine that answers one request on each connection to its socket. */
export interface LocalService {
  /** Whether it has a socket, which nobody may be listening at. */
  isThere(): boolean;
  /**
   * @param answerBytes how long the answer is in all, by its first bytes; null = these are too few to tell
   * @returns the answer, which may hold a secret
   * @throws AppError `unavailable` (nobody listens, it ended in the middle, no answer within `timeoutMs`), `refused`
   *   (we may not connect), `stopped`, and what `answerBytes` throws
   */
  ask(
    request: Uint8Array,
    answerBytes: (head: Buffer) => number | null,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<Buffer>;
}

/** One line each; the journal's priorities (sd-daemon(3)). */
export interface Logger {
  info(line: string): void;
  warning(line: string): void;
  error(line: string): void;
}

/** The connection that systemd accepted for us, ours alone. */
export interface Connection {
  /** The address that the client bound (unix(7)): NUL and a name when abstract, empty when it bound none. */
  readonly peerAddress: Buffer;
  /** SO_PEERCRED: who connected. */
  readonly peer: { readonly pid: number; readonly uid: number };
  /** What its socket is bound to (getsockname(2)); empty when that is no path. */
  readonly socketPath: string;
  /**
   * How systemd handed it over: alone, as a descriptor (`Accept=yes`); as standard input too (`StandardInput=socket`), so
   * that a unit's `ExecStopPost=` has it as well and can answer where we cannot; or one of many on its socket
   * (`Accept=no`).
   */
  readonly way: 'descriptor' | 'standard-input' | 'listener';
  /** The peer is root, or whoever we run as. */
  readonly peerIsTrusted: boolean;
  /** True once the client has closed its end, not merely said that it will send nothing. */
  isGone(): boolean;
  /**
   * Writes all of `bytes` and ends with shutdown(SHUT_WR), which alone gives the client EOF while systemd holds
   * its own copy of the connection.
   * @throws AppError `stopped` when the client goes away or does not read for `timeoutMs`
   */
  send(bytes: Uint8Array, timeoutMs: number): Promise<void>;
}

/**
 * Asks for the PIN of the TPM's key. @param attempt 1 at first; then the one before was wrong
 * @param salt of the sealed object that it is for, by which a PIN that is known already is known again
 * @throws AppError `unavailable` (nobody answered in time), `refused` (nobody to ask, or a PIN from a file was wrong),
 *   `tool-missing`, `stopped`
 */
export type AskPin = (attempt: number, signal: AbortSignal, salt: Buffer) => Promise<Secret>;

/** @param subject whose key the PIN is for @param giveUpAfterMs how long a person has; 0 = for ever */
export type PinAsker = (subject: string, giveUpAfterMs: number) => AskPin;
