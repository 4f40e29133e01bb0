import type { Files } from '../../base/ports.ts';
import type { Secret } from '../../base/secret.ts';
import type { KeyServerConfig } from '../../config/key-server.ts';
import type { OperatorSide } from '../operator.ts';

/** How a server is started: what its configuration and its command line say. */
export interface ServeOptions extends KeyServerConfig {
  /** `postgres://…`, an SQLite file, or `file:PATH`. */
  readonly store: string;
}

/** All that a command of luks-key-server may touch; `bin/` builds it. */
export interface OperatorWorld extends OperatorSide {
  readonly signal: AbortSignal;
  /** @param path null = where it is by default @throws AppError `bad-config`; a file that was named has to be there */
  serverConfig(path: string | null): Promise<KeyServerConfig>;
  /** Runs until `signal` aborts. */
  serve(options: ServeOptions): Promise<void>;
  /**
   * Fills a server's empty state folder and store; no server may be using them.
   * @returns how many machines it has
   * @throws AppError `refused` (not empty), `damaged` (also for another passphrase), `bad-config`, `unavailable`
   */
  restore(options: ServeOptions, path: string, passphrase: Secret): Promise<number>;
  nowMs(): number;
  /** @throws AppError `stopped` */
  nap(ms: number): Promise<void>;
  readonly files: Files;
  /** @throws AppError as `World` */
  readStandardInput(maxBytes: number): Promise<Secret>;
  /** @throws AppError `refused` without a terminal */
  askPassphrase(question: string, hint: string): Promise<Secret>;
  print(text: string): void;
  say(line: string): void;
  /** Has a name typed again. @throws AppError `refused` when there is no terminal, or another name is typed */
  confirmName(lines: readonly string[], name: string, hint: string): Promise<void>;
}

export interface ServerCommand {
  readonly name: string;
  readonly summary: string;
  readonly help: string;
  /** @returns the exit status */
  run(args: readonly string[], world: OperatorWorld): Promise<number>;
}
