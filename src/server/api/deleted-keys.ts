import type { Clock } from '../../base/ports.ts';
import { serverLimits } from '../../base/server-limits.ts';
import type { Store } from '../store/store.ts';

/** @returns destroys, at most once an hour, the exchange keys that were deleted long enough ago */
export function destroyer(store: Store, clock: Clock): () => Promise<void> {
  let dueMs = 0;
  return async () => {
    if (clock.nowMs() < dueMs) return;
    await store.transaction(async (transaction) => {
      const untilMs = store.now().leaseMs - serverLimits.deletedKeyMs;
      const count = await transaction.destroyDeleted(untilMs);
      if (count === 0) return;
      transaction.record({
        who: 'server',
        what: 'destroy-deleted',
        outcome: 'done',
        details: { keys: count },
      });
    });
    dueMs = clock.nowMs() + serverLimits.deletedKeyPauseMs;
  };
}
