import type { Clock } from '../base/ports.ts';

/** Sleeps that somebody else may end. */
export class Nap {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #asleep = new AbortController();
  #called = false;

  /** @param signal ends every sleep */
  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
    // Once, as each sleep of a daemon's life would leave a listener.
    signal.addEventListener('abort', () => this.#asleep.abort(), { once: true });
  }

  /** Ends early for `wake`, also for one that came since the last sleep. */
  async sleep(ms: number): Promise<void> {
    const isCalled = this.#called;
    this.#called = false;
    if (isCalled || this.#signal.aborted) return;
    this.#asleep = new AbortController();
    await this.#clock.sleep(ms, this.#asleep.signal).catch(() => {});
    this.#called = false;
  }

  wake(): void {
    this.#called = true;
    this.#asleep.abort();
  }
}
