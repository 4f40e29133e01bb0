import type {
  Connection,
  DurableFiles,
  Locks,
  MemoryFiles,
  PinAsker,
  Runner,
  ScratchFolder,
} from '../base/ports.ts';
import type { Secret } from '../base/secret.ts';
import type { HandlerWorld } from '../handler/handle.ts';
import type { KeepaliveWorld } from '../keepalive/world.ts';
import type { TpmLook } from '../tpm/look.ts';
import type { OperatorSide } from './operator.ts';

/** All that a command may touch; `bin/` builds it. */
export interface World extends HandlerWorld {
  /** Aborts on SIGTERM and SIGINT. */
  readonly signal: AbortSignal;
  /** Instead of `pinOf`, where nobody is at a terminal. */
  readonly pinOfAgents: PinAsker;
  readonly runner: Runner;
  readonly memoryFiles: MemoryFiles;
  readonly locks: Locks;
  readonly tpmLook: TpmLook;
  /** @throws AppError `unavailable` */
  scratchFolder(): ScratchFolder;
  /** Wall clock, Unix time. */
  nowUnixMs(): number;
  readonly keepalive: KeepaliveWorld;
  /** The key server that this machine itself runs. */
  readonly keyServer: OperatorSide;
  /** When a keep-alive has counted last: Unix time; null: none has in this boot. */
  lastKeptAliveMs(serverPins: readonly Buffer[]): Promise<number | null>;
  /** What must not be lost. */
  readonly durable: DurableFiles;
  standardOutputIsTerminal(): boolean;
  /** @throws AppError `usage` when systemd passed no connection */
  takeConnection(): Connection;
  /**
   * Every connection of the socket that systemd passed, until nobody asks any more.
   * @throws AppError `usage` when systemd passed none; `unavailable`
   */
  serveAll(serve: (connection: Connection) => Promise<unknown>): Promise<void>;
  /**
   * Asks a socket as systemd does: binds `address`, connects, shuts its writing side and reads to EOF.
   * @throws AppError `unavailable` (nobody listens), `refused` (not permitted), `stopped`
   */
  askSocket(path: string, address: Buffer, maxBytes: number): Promise<Buffer>;
  /** Standard input to its end. @throws AppError `usage` when it is a terminal or longer than `maxBytes` */
  readStandardInput(maxBytes: number): Promise<Secret>;
  /** Results. */
  print(bytes: string | Uint8Array): void;
  /** Everything else: standard error, one line. */
  say(line: string): void;
  /**
   * Asks at the terminal for a line that is not shown. @param hint for who has no terminal
   * @throws AppError `refused` when there is no terminal, or the input ends; `stopped`
   */
  askPassphrase(question: string, hint: string): Promise<Secret>;
  /**
   * Lets a person change a secret in an editor, which sees it in memory alone.
   * @throws AppError `refused` (the editor failed), `unavailable` (who is not root has no memory for it), `stopped`
   */
  edit(secret: Secret): Promise<Secret>;
  /** @throws AppError `refused` when there is no terminal, or the answer is no */
  confirm(lines: readonly string[], question: string, hint: string): Promise<void>;
}
