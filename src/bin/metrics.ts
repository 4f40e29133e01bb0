import type { ListenAddress } from '../config/place.ts';
import { serveHttp } from '../os/http-server.ts';
import { journal } from '../os/journal.ts';
import type { Listener } from '../os/listener.ts';
import type { Rounds } from '../server/alerts/rounds.ts';
import type { Webhook } from '../server/alerts/webhook.ts';
import type { App } from '../server/api/app.ts';
import type { Family } from '../server/metrics/exposition.ts';
import { families } from '../server/metrics/families.ts';
import { metricsFront } from '../server/metrics/metrics-front.ts';

export interface Measured {
  readonly app: App;
  readonly webhooks: readonly Webhook[];
  readonly rounds: Rounds;
  /** By name; null where there is none. */
  readonly listeners: Readonly<Record<string, Listener | null>>;
}

/** @throws AppError `unavailable`: the address is taken, or not ours */
export async function serveMetrics(listen: ListenAddress, measured: Measured): Promise<Listener> {
  const { app, webhooks, rounds } = measured;
  const startSeconds = Math.round(Date.now() / 1000 - process.uptime());
  const gather = async (): Promise<Family[]> => {
    const connections = connectionsOf(measured.listeners);
    const residentBytes = process.memoryUsage.rss();
    return families(app.counters, {
      machines: rounds.counts,
      connections,
      webhooks,
      residentBytes,
      startSeconds,
    });
  };
  const listener = await serveHttp(listen, metricsFront(gather, journal));
  journal.info(`serving metrics on port ${listener.port}`);
  return listener;
}

function connectionsOf(listeners: Measured['listeners']): Record<string, number> {
  const there = Object.entries(listeners).filter(([, listener]) => listener !== null);
  return Object.fromEntries(there.map(([name, listener]) => [name, listener?.connections ?? 0]));
}
