import type { InferOutput } from 'valibot';
import { limits } from '../../base/limits.ts';
import { serverLimits } from '../../base/server-limits.ts';
import type * as wire from '../../wire/machine.ts';
import { armedUntilMs, statusAt } from '../machine/state.ts';
import type { App, MachineCaller } from './app.ts';
import { asMachine, granted, stateOf } from './machine.ts';

type Status = InferOutput<typeof wire.watchEvent>;

/**
 * `GET /v1/watch`: the machine's status now and after each change, whichever process made it, or none when a lease
 * ended; ends after `revoked`.
 * @param signal aborts when the machine has gone
 * @throws Refused to a stranger
 */
export async function watch(
  app: App,
  caller: MachineCaller,
  signal: AbortSignal,
): Promise<AsyncIterable<Status>> {
  const id = await asMachine(app, caller, async (_, machine) => granted(machine, machine.id));
  return statuses(app, id, signal);
}

async function* statuses(app: App, id: string, signal: AbortSignal): AsyncGenerator<Status> {
  let wake = Promise.withResolvers<void>();
  const onAbort = () => wake.resolve();
  signal.addEventListener('abort', onAbort, { once: true });
  const unsubscribe = app.store.subscribe((event) => {
    if (event.machine === id || event.kind === 'resync') wake.resolve();
  });
  try {
    let last: Status['status'] | null = null;
    while (!signal.aborted) {
      // Anew before it is read: a change that comes meanwhile is seen in the next round.
      const next = wake;
      const current = await look(app, id);
      if (current === null) return;
      const { status, lastsMs } = current;
      if (status !== last) yield { status };
      if (status === 'revoked') return;
      last = status;
      await within(app, lastsMs, next);
      wake = Promise.withResolvers<void>();
      if (signal.aborted) return;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    unsubscribe();
  }
}

/** Until `wake` is resolved, or `ms` have passed; null = for ever. */
async function within({ clock }: App, ms: number | null, wake: PromiseWithResolvers<void>): Promise<void> {
  if (ms === null) return await wake.promise;
  const over = new AbortController();
  clock.sleep(ms, over.signal).then(wake.resolve, () => {});
  await wake.promise;
  over.abort();
}

/** @returns the machine's status, and how long it lasts if nothing happens; null: there is no such machine */
async function look({ store }: App, id: string) {
  const machine = await store.snapshot((reader) => reader.machine('id', id));
  if (machine === null) return null;
  const state = stateOf(machine);
  const { leaseMs } = store.now();
  const status = statusAt(state, leaseMs);
  const untilMs = status === 'armed' ? armedUntilMs(state) : null;
  const lastsMs = untilMs === null ? null : Math.max(untilMs - leaseMs, serverLimits.leaseLookMs);
  return { status, lastsMs: lastsMs === null ? null : Math.min(lastsMs, limits.longestTimerMs) };
}
