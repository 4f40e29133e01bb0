import type { Random } from '../base/ports.ts';
import type { ServerWorld } from '../remote/server-world.ts';
import type { WitnessWorld } from './head-witness.ts';
import type { GuardWorld } from './protection-guard.ts';

/** The alive proof that the handler left when it opened a key of this server (src/handler/alive.ts). */
export interface LeftProof {
  readonly kid: string;
  /** base64url */
  readonly proof: string;
}

export type Verdict = 'locked' | 'revoked';

/** What became of an order. */
export type Outcome = 'not begun' | 'under way' | 'done' | 'failed';

export interface KeepaliveWorld extends WitnessWorld, GuardWorld {
  readonly random: Random;
  readonly serverWorld: ServerWorld;
  /** @returns null when no key of that server was opened in this boot */
  leftProof(serverPins: readonly Buffer[]): Promise<LeftProof | null>;
  /** Notes for `status` that a keep-alive has counted now. */
  keptAlive(serverPin: Buffer): void;
  /** Has the unit that may do so act. @throws AppError `unavailable` */
  order(verdict: Verdict): void;
  /** Of the last order. */
  outcome(verdict: Verdict): Outcome;
  /** Gives memory back that a daemon at rest does not need. */
  rest(): void;
  /** Tells systemd that this daemon has started (sd_notify(3)). */
  ready(): void;
  /** Tells systemd that it is well, at least this often; null = nobody asks. */
  readonly watchdogMs: number | null;
  alive(): void;
}
