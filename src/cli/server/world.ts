import type { OperatorRequest } from '../../wire/operator.ts';

/** How a server is started. */
export interface ServeOptions {
  /** Folder of its key, its store and what else it keeps. */
  readonly state: string;
  readonly host: string;
  readonly port: number;
  /** `postgres://…`, or the path of an SQLite file. */
  readonly store: string;
  /** Where operators ask. */
  readonly socket: string;
  /** PEM file of key and certificate in place of the server's own; null = its own. */
  readonly identity: string | null;
}

/** All that a command of luks-key-server may touch; `bin/` builds it. */
export interface OperatorWorld {
  readonly signal: AbortSignal;
  /** Runs until `signal` aborts. */
  serve(options: ServeOptions): Promise<void>;
  /** @returns status and JSON of the answer @throws AppError `unavailable`, `refused`, `stopped` */
  ask(socket: string, request: OperatorRequest): Promise<{ status: number; json: unknown }>;
  /** The server's own key, as `sha256/BASE64URL`. @throws AppError `bad-config` when it has none yet */
  serverPin(state: string): Promise<string>;
  nowMs(): number;
  print(text: string): void;
  say(line: string): void;
  /** @throws AppError `refused` when there is no terminal, or the answer is no */
  confirm(lines: readonly string[], question: string): Promise<void>;
}

export interface ServerCommand {
  readonly name: string;
  readonly summary: string;
  readonly help: string;
  /** @returns the exit status */
  run(args: readonly string[], world: OperatorWorld): Promise<number>;
}
