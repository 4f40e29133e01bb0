import { version } from '../../base/version.ts';
import type { Counters } from '../api/counters.ts';
import type { Family, Sample } from './exposition.ts';

/** What is told beside the counters: as it is now. */
export interface Gauges {
  /** null when they could not be counted. */
  readonly machines: Readonly<Record<string, number>> | null;
  /** Of each listener. */
  readonly connections: Readonly<Record<string, number>>;
  /** In the order of the configuration. */
  readonly webhooks: readonly { readonly dropped: number; readonly waiting: number }[];
  readonly residentBytes: number;
  /** When the process started: seconds since 1970. */
  readonly startSeconds: number;
}

export function families(counters: Counters, gauges: Gauges): Family[] {
  const of = (type: Family['type']) => (name: string, help: string, samples: readonly Sample[]) => ({
    name,
    type,
    help,
    samples,
  });
  const [counter, gauge] = [of('counter'), of('gauge')];
  const own = 'luks_key_server';
  const hooks = (value: (hook: Gauges['webhooks'][number]) => number) =>
    gauges.webhooks.map((hook, index) => ({ labels: { webhook: String(index) }, value: value(hook) }));
  return [
    gauge(`${own}_info`, 'Always 1.', [{ labels: { version }, value: 1 }]),
    gauge(`${own}_machines`, 'Machines in the store.', by('state', gauges.machines ?? {})),
    counter(`${own}_releases_total`, 'Exchanges that were granted.', [{ value: counters.releases }]),
    counter(`${own}_refusals_total`, 'Requests that were refused.', by('code', counters.refusals)),
    counter(`${own}_keepalives_total`, 'Keep-alives that were taken.', [{ value: counters.keepalives }]),
    counter(
      `${own}_heartbeats_total`,
      'Looks after the lease clock; without them it stands still.',
      by('outcome', { done: counters.heartbeats, failed: counters.failedHeartbeats }),
    ),
    gauge(`${own}_connections`, 'Open connections.', by('listener', gauges.connections)),
    counter(
      `${own}_webhook_drops_total`,
      'Alerts that a webhook never took.',
      hooks(({ dropped }) => dropped),
    ),
    gauge(
      `${own}_webhook_waiting`,
      'Alerts that a webhook is still to be told.',
      hooks(({ waiting }) => waiting),
    ),
    gauge('process_resident_memory_bytes', 'Resident memory.', [{ value: gauges.residentBytes }]),
    gauge('process_start_time_seconds', 'Start of the process since 1970.', [{ value: gauges.startSeconds }]),
  ];
}

function by(label: string, values: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(values).map(([key, value]) => ({ labels: { [label]: key }, value }));
}
