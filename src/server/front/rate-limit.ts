/** How often something may happen: `burst` at once, and `perSecond` in the long run. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
  /** Whether it was told that this one is over its rate; until half of the tokens are there again. */
  told: boolean;
}

/**
 * A token bucket for each key. A key that was not seen for long has a full one, so forgetting the longest unseen when
 * there are too many costs little: who could fill the table with fresh keys needs no old one's tokens.
 */
export class RateLimit {
  readonly #rate: Rate;
  readonly #entries: number;
  /** By last use, oldest first. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: Rate, entries: number) {
    this.#rate = rate;
    this.#entries = entries;
  }

  /**
   * Takes one token.
   * @param nowMs monotonic
   * @returns `over` when there is none; `just-over` for the first time since there were many, which is worth a line
   */
  take(key: string, nowMs: number): 'taken' | 'over' | 'just-over' {
    const { perSecond, burst } = this.#rate;
    const bucket = this.#buckets.get(key) ?? { tokens: burst, atMs: nowMs, told: false };
    bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.atMs) / 1000) * perSecond);
    bucket.atMs = nowMs;
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > this.#entries && oldest !== undefined) this.#buckets.delete(oldest);
    if (bucket.tokens >= burst / 2) bucket.told = false;
    if (bucket.tokens >= 1) {
      bucket.tokens -= 1;
      return 'taken';
    }
    if (bucket.told) return 'over';
    bucket.told = true;
    return 'just-over';
  }

  /** How many keys are remembered. */
  get size(): number {
    return this.#buckets.size;
  }
}
