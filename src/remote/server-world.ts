import type { TlsSettings } from '../base/ports.ts';
import type { ServerConnector } from '../base/server-connection.ts';

/** What a request to a key server needs of the machine. */
export interface ServerWorld {
  readonly connector: ServerConnector;
  /**
   * The machine's own key for a server, out of its protection.
   * @throws AppError `bad-config`, `tool-missing`, `unavailable`, `stopped`
   */
  identity(
    path: string,
    signal: AbortSignal,
  ): Promise<Required<Pick<TlsSettings, 'clientCertificate' | 'clientKey'>>>;
  /** This boot's id (proc(5), /proc/sys/kernel/random/boot_id). */
  bootId(): Promise<string>;
  /**
   * The alive proof that was left in this boot, by whoever had a key of this server open (src/handler/alive.ts).
   * @param serverPins the keys that it had or has
   * @returns null when there is none
   */
  leftProof(serverPins: readonly Buffer[]): Promise<{ readonly kid: string; readonly proof: string } | null>;
}
