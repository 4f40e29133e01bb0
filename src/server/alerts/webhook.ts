import type { KeyObject } from 'node:crypto';
import { AppError } from '../../base/errors.ts';
import type { Clock, Http, Logger, Random } from '../../base/ports.ts';
import { serverLimits } from '../../base/server-limits.ts';
import { type Alert, type App, claimKinds } from '../api/app.ts';
import { alertJson, signedHeaders } from './message.ts';

export interface WebhookTarget {
  readonly url: URL;
  readonly key: KeyObject;
}

export interface WebhookWorld {
  readonly http: Http;
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  readonly random: Pick<Random, 'fraction'>;
  readonly log: Logger;
  readonly latestHead: App['latestHead'];
}

interface Pending {
  readonly alert: Alert;
  readonly wallMs: number;
}

/** Why a try was none, and whether another one may be. */
interface Fault {
  readonly reason: string;
  readonly isFinal: boolean;
}

/**
 * Tells one target of alerts, one after the other, each until it is taken. Nobody waits for it: of more than it may
 * keep, the oldest are dropped, what machines say of themselves before what the server says. What is still kept when the server stops is told by the log and the audit log alone.
 */
export class Webhook {
  readonly #target: WebhookTarget;
  readonly #world: WebhookWorld;
  readonly #queue: Pending[] = [];
  #underWay: Pending | null = null;
  #wake = Promise.withResolvers<void>();
  #dropped = 0;
  /** Dropped since it was last said. */
  #unsaid = 0;
  #isAway = false;

  constructor(target: WebhookTarget, world: WebhookWorld) {
    this.#target = target;
    this.#world = world;
  }

  /** Alerts that were never taken and never will be. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Alerts that it is still to be told. */
  get waiting(): number {
    return this.#queue.length + (this.#underWay === null ? 0 : 1);
  }

  /** Never throws, never waits. */
  push(alert: Alert): void {
    this.#queue.push({ alert, wallMs: this.#world.wallMs() });
    if (this.#queue.length > serverLimits.webhookAlerts) {
      const claim = this.#queue.findIndex(({ alert }) => claimKinds.some((kind) => kind === alert.kind));
      this.#queue.splice(Math.max(0, claim), 1);
      if (this.#unsaid === 0)
        this.#say('error', `${serverLimits.webhookAlerts} alerts wait: the oldest are dropped`);
      this.#unsaid++;
      this.#dropped++;
    }
    this.#wake.resolve();
  }

  /** Until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = () => this.#wake.resolve();
    signal.addEventListener('abort', stop, { once: true });
    while (!signal.aborted) {
      this.#underWay = this.#queue.shift() ?? null;
      if (this.#underWay === null) await this.#wake.promise;
      else await this.#deliver(this.#underWay, signal);
      this.#wake = Promise.withResolvers();
    }
    const left = this.waiting;
    if (left > 0) this.#say('warning', `stopped, with alerts that were not delivered: ${left}`);
  }

  async #deliver(pending: Pending, signal: AbortSignal): Promise<void> {
    let pauseMs: number = serverLimits.webhookPauseFirstMs;
    while (!signal.aborted) {
      const fault = await this.#tryOnce(pending, signal);
      if (fault === null) return this.#delivered();
      if (fault.isFinal) return this.#refused(pending, fault);
      if (signal.aborted) break;
      if (!this.#isAway) this.#say('warning', `${fault.reason}; it is tried again`);
      this.#isAway = true;
      await this.#world.clock
        .sleep(pauseMs * (0.5 + this.#world.random.fraction() / 2), signal)
        .catch(() => {});
      pauseMs = Math.min(2 * pauseMs, serverLimits.webhookPauseLongestMs);
    }
  }

  /** @returns null when it was taken */
  async #tryOnce({ alert, wallMs }: Pending, signal: AbortSignal): Promise<Fault | null> {
    const { http, latestHead, wallMs: now } = this.#world;
    const { url, key } = this.#target;
    const body = Buffer.from(JSON.stringify(alertJson(alert, wallMs, latestHead())));
    const headers = signedHeaders(key, `${alert.requestId}-${alert.kind}`, now(), body);
    const timeoutMs = serverLimits.webhookTryMs;
    try {
      const request = { method: 'POST', url, headers, body, maxBodyBytes: null, timeoutMs, signal } as const;
      const { status } = await http.request(request);
      if (status >= 200 && status < 300) return null;
      // It was understood and is not wanted; the others may be over by the next try.
      const isFinal = status >= 400 && status < 500 && status !== 408 && status !== 429;
      return { reason: `answered with status ${status}`, isFinal };
    } catch (thrown) {
      // The path may be what lets us in.
      const reason = thrown instanceof AppError ? thrown.message : String(thrown);
      return { reason: reason.replace(`${url.origin}${url.pathname}: `, ''), isFinal: false };
    }
  }

  #delivered(): void {
    this.#underWay = null;
    if (this.#isAway) this.#say('info', 'works again');
    this.#isAway = false;
    if (this.#queue.length > 0 || this.#unsaid === 0) return;
    this.#say('error', `alerts that were dropped: ${this.#unsaid}`);
    this.#unsaid = 0;
  }

  #refused({ alert }: Pending, { reason }: Fault): void {
    this.#underWay = null;
    this.#dropped++;
    this.#say('error', `${reason}: dropped ${alert.kind} of ${alert.machine} [${alert.requestId}]`);
  }

  #say(priority: keyof Logger, line: string): void {
    this.#world.log[priority](`webhook ${this.#target.url.origin}: ${line}`);
  }
}
