import type pg from 'pg';
import { limits } from '../../base/limits.ts';
import type { Clock } from '../../base/ports.ts';
import { serverLimits } from '../../base/server-limits.ts';
import type { StoreEvent } from './database.ts';

/**
 * Hears what is announced through a connection of its own, made again whenever it breaks; then tells `resync`.
 * Ends when `signal` aborts.
 */
export async function listen(
  create: () => pg.Client,
  clock: Clock,
  signal: AbortSignal,
  tell: (event: StoreEvent) => void,
): Promise<void> {
  let pauseMs: number = limits.retryFirstMs;
  while (!signal.aborted) {
    const client = create();
    try {
      const ended = endOf(client, signal);
      await client.connect();
      client.on('notification', ({ payload }) => {
        const event = eventOf(payload);
        if (event !== null) tell(event);
      });
      await client.query('LISTEN luks_key_server');
      pauseMs = limits.retryFirstMs;
      tell({ kind: 'resync', machine: '' });
      // A network that went away without a word is found by asking.
      while (!signal.aborted && (await stillListening(ended, clock, signal))) await client.query('SELECT 1');
    } catch {
      // Not reachable: whoever needs the database now is told so by its own transaction.
    }
    await client.end().catch(() => {});
    await clock.sleep(pauseMs, signal).catch(() => {});
    pauseMs = Math.min(pauseMs * 2, limits.retryLongestMs);
  }
}

/** @returns false as soon as the connection has ended, true after a while in which it has not */
async function stillListening(ended: Promise<false>, clock: Clock, signal: AbortSignal): Promise<boolean> {
  return await Promise.race([ended, clock.sleep(serverLimits.leaseTickMs, signal).then(() => true)]);
}

function endOf(client: pg.Client, signal: AbortSignal): Promise<false> {
  return new Promise((resolve) => {
    const done = () => resolve(false);
    client.on('error', done);
    client.on('end', done);
    signal.addEventListener('abort', done, { once: true });
  });
}

/** Whoever may use the database may announce anything: what is not ours is nothing. */
function eventOf(payload: string | undefined): StoreEvent | null {
  try {
    const { kind, machine } = JSON.parse(payload ?? '') as Partial<StoreEvent>;
    if ((kind !== 'changed' && kind !== 'revoked') || typeof machine !== 'string') return null;
    return { kind, machine };
  } catch {
    return null;
  }
}
