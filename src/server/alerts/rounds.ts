import { createHash } from 'node:crypto';
import { asAppError } from '../../base/errors.ts';
import type { Clock, Logger } from '../../base/ports.ts';
import { serverLimits } from '../../base/server-limits.ts';
import { afterThisTurn } from '../../base/turn.ts';
import type { App } from '../api/app.ts';
import { type MachineState, statusAt } from '../machine/state.ts';
import type { Machine } from '../store/store.ts';

export type MachineCounts = Readonly<Record<MachineState['status'], number>>;

/**
 * Looks at every machine, again and again: one that fell silent is told of when its lease ends, as nobody else may ever
 * ask for it. Nothing is kept: what ended between two rounds is told in the later one, and a start repeats a minute.
 */
export class Rounds {
  readonly #app: App;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** Lease clock of the last round. */
  #sinceMs: number;
  #counts: MachineCounts | null = null;

  constructor(app: App, clock: Clock, log: Logger) {
    this.#app = app;
    this.#clock = clock;
    this.#log = log;
    this.#sinceMs = app.store.now().leaseMs - serverLimits.roundsRepeatedMs;
  }

  /** How many machines are in which state, as the last round found them; null where that was none. */
  get counts(): MachineCounts | null {
    return this.#counts;
  }

  /** Until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    let isBroken = false;
    while (!signal.aborted) {
      const startMs = this.#clock.nowMs();
      await this.round(signal).then(
        () => (isBroken = false),
        (thrown: unknown) => {
          // What was missed is seen in the first round that is whole.
          if (!isBroken) this.#log.error(`cannot look who fell silent: ${asAppError(thrown).message}`);
          isBroken = true;
          this.#counts = null;
        },
      );
      const tookMs = this.#clock.nowMs() - startMs;
      const pauseMs = Math.max(serverLimits.beatMs, tookMs * serverLimits.roundsRest);
      await this.#clock.sleep(pauseMs, signal).catch(() => {});
    }
  }

  /** @throws AppError what the store throws */
  async round(signal: AbortSignal): Promise<void> {
    const untilMs = this.#app.store.now().leaseMs;
    const counts = { armed: 0, locked: 0, revoked: 0 };
    for (let after: string | undefined = ''; after !== undefined; ) {
      if (signal.aborted) return;
      const page: Machine[] = await this.#page(after);
      for (const machine of page) {
        counts[statusAt(machine.state, untilMs)]++;
        this.#tell(machine, untilMs);
      }
      after = page.at(-1)?.name;
      // Between two pages others have their turn.
      await afterThisTurn();
    }
    this.#sinceMs = untilMs;
    this.#counts = counts;
  }

  #tell({ id, name, state }: Machine, untilMs: number): void {
    if (statusAt(state, this.#sinceMs) !== 'armed' || statusAt(state, untilMs) !== 'locked') return;
    // Each process that makes rounds tells of it, under one name.
    const named = createHash('sha256').update(`${id} ${state.deadlineMs}`).digest('hex');
    this.#app.alert({
      kind: 'locked',
      machine: name,
      from: null,
      requestId: named.slice(0, 16),
      text: 'lease',
    });
  }

  #page(after: string): Promise<Machine[]> {
    return this.#app.store.snapshot((reader) => reader.machinesAfter(after, serverLimits.pageRows));
  }
}
