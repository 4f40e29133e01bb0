import { asAppError, failureLine } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Clock, Files, Logger } from '../base/ports.ts';
import type { ProtectMode } from '../protection/settings.ts';
import { isProtected, protectionOf, protectionText } from '../protection/stored.ts';
import type { ServerWorld } from '../remote/server-world.ts';

export interface GuardWorld {
  readonly clock: Clock;
  readonly files: Files;
  readonly journal: Logger;
  readonly serverWorld: Pick<ServerWorld, 'identity'>;
}

export interface GuardOptions {
  /** What config.yaml calls the server. */
  readonly name: string;
  /** Of this machine's key for it. */
  readonly path: string;
  readonly mode: ProtectMode;
  readonly world: GuardWorld;
  /** Whether the daemon has the key in memory. */
  hasKey(): boolean;
  /** There is something to tell the server. */
  onAlert(): void;
}

/**
 * Looks from time to time whether the TPM, or Parsec, still protects this machine's key and still opens it: a machine
 * that runs should tell before its next boot fails. Nothing is written.
 */
export class ProtectionGuard {
  readonly #options: GuardOptions;
  #told: string | null = null;
  /** What the server has not taken yet. */
  alert: string | null = null;

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  /** Ends when `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options.world;
    while (this.#options.mode !== 'never' && !signal.aborted) {
      await this.#look(signal);
      await clock.sleep(limits.protectionLookMs, signal).catch(() => {});
    }
  }

  /** Each fault is told once, and again when it was over meanwhile. */
  async #look(signal: AbortSignal): Promise<void> {
    const { name, mode, world, onAlert } = this.#options;
    const fault = await this.#fault(signal).catch((thrown: unknown) => failureLine(asAppError(thrown)));
    if (signal.aborted || fault === this.#told) return;
    this.#told = fault;
    if (fault === null) return;
    const text = `${await hostName(world.files)}: ${fault}; ${this.#fallback()}`;
    if (mode === 'best-effort') {
      world.journal.warning(`${name}: tpm-protection-unavailable: ${text}`);
      return;
    }
    world.journal.error(`${name}: major alert: tpm-protection-unavailable: ${text}`);
    this.alert = text.slice(0, limits.alertCharacters);
    onAlert();
  }

  /** @returns null when all is well. @throws AppError why the key does not open */
  async #fault(signal: AbortSignal): Promise<string | null> {
    const { path, mode, world } = this.#options;
    const bytes = await world.files.read(path, limits.identityBytes);
    // Whoever needs it says that it is not there.
    if (bytes === null) return null;
    const protection = protectionOf(bytes);
    bytes.fill(0);
    if (!isProtected(protection))
      return mode === 'require' ? `${path} is ${protectionText(protection)}` : null;
    await world.serverWorld.identity(path, signal);
    return null;
  }

  #fallback(): string {
    return this.#options.hasKey()
      ? 'it goes on with the key that it has in memory, until it stops'
      : 'it has nothing to fall back to';
  }
}

/** proc_sys_kernel(5). */
async function hostName(files: Files): Promise<string> {
  const name = await files.read('/proc/sys/kernel/hostname', limits.hostNameBytes).catch(() => null);
  return name?.toString().trim() ?? 'this machine';
}
