import { asAppError, failureLine } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { ServerConnection } from '../base/server-connection.ts';
import type { Action } from '../config/action.ts';
import { retryMs } from './pace.ts';
import { report } from './report.ts';
import type { KeepaliveWorld, Outcome, Verdict } from './world.ts';

export interface ActingOptions {
  /** What config.yaml calls the server. */
  readonly server: string;
  readonly actions: Readonly<Record<Verdict, readonly Action[]>>;
  readonly world: KeepaliveWorld;
  readonly signal: AbortSignal;
  /** A connection to the server for as long as `work` takes. */
  connected<T>(work: (connection: ServerConnection) => Promise<T>): Promise<T>;
}

/** Has that done what config.yaml says about a verdict, and tells journal and server what is to be and what became of it. */
export class Acting {
  readonly #options: ActingOptions;
  #following: Promise<unknown> = Promise.resolve();

  constructor(options: ActingOptions) {
    this.#options = options;
  }

  /**
   * The first report leaves before the action, which may end this machine's network; it is not waited for without end.
   * @throws AppError `unavailable` when it cannot be ordered
   */
  async act(verdict: Verdict, connection: ServerConnection): Promise<void> {
    const { server, actions, world, signal } = this.#options;
    const names = actions[verdict].map((action) => (typeof action === 'string' ? action : 'run')).join(', ');
    const what = names === '' ? 'nothing is configured to be done' : `doing ${names}`;
    world.journal.warning(`${server}: this machine is ${verdict}: ${what}`);
    if (names === '') return;
    const { journal } = world;
    await report({ kind: 'acted', text: `${verdict}: ${what}` }, connection, { server, journal }, signal);
    world.order(verdict);
    this.#following = Promise.all([this.#following, this.#follow(verdict, names)]);
  }

  /** When what became of every order has been told, or `signal` aborts. */
  async told(): Promise<void> {
    await this.#following;
  }

  async #follow(verdict: Verdict, names: string): Promise<void> {
    const { server, world, signal } = this.#options;
    const outcome = await this.#outcome(verdict);
    if (signal.aborted) return;
    const text = `${verdict}: ${names}: ${outcome}`;
    const unit = `fetch-luks-key-act@${verdict}`;
    if (outcome === 'done') world.journal.info(`${server}: ${text}`);
    else {
      const hint = outcome === 'not begun' ? `is ${unit}.path active?` : `journalctl -u ${unit}.service`;
      world.journal.error(`${server}: ${text} (hint: ${hint})`);
    }
    for (let tries = 1; tries <= limits.outcomeReports && !(await this.#tells(text)); tries++) {
      await world.clock.sleep(retryMs(tries, world.random), signal).catch(() => {});
      if (signal.aborted) return;
    }
  }

  async #outcome(verdict: Verdict): Promise<Outcome> {
    const { world, signal } = this.#options;
    const sinceMs = world.clock.nowMs();
    for (;;) {
      const outcome = world.outcome(verdict);
      const limitMs = { 'not begun': limits.orderTakenMs, 'under way': limits.actionsMs, done: 0, failed: 0 }[
        outcome
      ];
      if (signal.aborted || world.clock.nowMs() - sinceMs >= limitMs) return outcome;
      await world.clock.sleep(limits.outcomeLookMs, signal).catch(() => {});
    }
  }

  async #tells(text: string): Promise<boolean> {
    const { server, world, signal, connected } = this.#options;
    const { journal } = world;
    try {
      return await connected((connection) =>
        report({ kind: 'acted', text }, connection, { server, journal }, signal),
      );
    } catch (thrown) {
      journal.warning(`${server}: report: ${failureLine(asAppError(thrown))}`);
      return false;
    }
  }
}
