import type { InferOutput } from 'valibot';
import type * as wire from '../../wire/machine.ts';
import { statusAt } from '../machine/state.ts';
import type { Store } from '../store/store.ts';
import type { App, MachineCaller } from './app.ts';
import { asMachine, granted, stateOf } from './machine.ts';

type Status = InferOutput<typeof wire.watchEvent>;

/**
 * `GET /v1/watch`: the machine's status now and after each change, whichever process made it; ends after `revoked`.
 * @param signal aborts when the machine has gone
 * @throws Refused to a stranger
 */
export async function watch(
  app: App,
  caller: MachineCaller,
  signal: AbortSignal,
): Promise<AsyncIterable<Status>> {
  const id = await asMachine(app, caller, async (_, machine) => granted(machine, machine.id));
  return statuses(app.store, id, signal);
}

async function* statuses(store: Store, id: string, signal: AbortSignal): AsyncGenerator<Status> {
  let wake = Promise.withResolvers<void>();
  const onAbort = () => wake.resolve();
  signal.addEventListener('abort', onAbort, { once: true });
  const unsubscribe = store.subscribe((event) => {
    if (event.machine === id || event.kind === 'resync') wake.resolve();
  });
  try {
    let last: Status['status'] | null = null;
    while (!signal.aborted) {
      // Anew before it is read: a change that comes meanwhile is seen in the next round.
      const next = wake.promise;
      const status = await statusOf(store, id);
      if (status === null) return;
      if (status !== last) yield { status };
      if (status === 'revoked') return;
      last = status;
      await next;
      wake = Promise.withResolvers<void>();
      if (signal.aborted) return;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    unsubscribe();
  }
}

async function statusOf(store: Store, id: string): Promise<Status['status'] | null> {
  const machine = await store.snapshot((transaction) => transaction.machine('id', id));
  return machine === null ? null : statusAt(stateOf(machine), store.now().leaseMs);
}
