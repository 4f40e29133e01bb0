import type { KeyObject } from 'node:crypto';
import type { InferOutput } from 'valibot';
import { serverLimits } from '../../base/server-limits.ts';
import type { identity } from '../../wire/machine.ts';
import type { IdentityView } from '../../wire/operator.ts';
import { allMachines } from '../store/pages.ts';
import type { Store } from '../store/store.ts';
import type { App } from './app.ts';

/** The key that the server proves, and the one that is to follow it. */
export interface OwnKeys {
  /** `sha256/BASE64URL`. */
  readonly pin: string;
  /** null: none is announced. */
  readonly next: string | null;
  /** Each key's word for the next one, oldest first; the last one is for `next`, if there is one. */
  readonly chain: InferOutput<typeof identity.response>['chain'];
  /** What signs the heads of the audit log, and what signed them before. */
  readonly publicKeys: readonly KeyObject[];
  /** Announces another key from now on; nothing when one is announced. @throws AppError `refused`, `unavailable` */
  announce(): Promise<void>;
  /** The one that is announced takes over: all connections of machines end. @throws AppError `refused`, `unavailable` */
  succeed(): Promise<void>;
}

/**
 * Another key for the server: announced at once, and in use once every machine has heard of it, or `now`.
 * @throws AppError as `OwnKeys`
 */
export async function rotateIdentity({ store, keys }: App, now: boolean): Promise<IdentityView> {
  const record = (outcome: string, details: Readonly<Record<string, string | number>>) =>
    store.transaction(async (transaction) =>
      transaction.record({ who: 'operator', what: 'rotate-identity', outcome, details }),
    );
  if (keys.next === null) {
    await keys.announce();
    await record('announced', { next: keys.next ?? '' });
  }
  const { unaware } = await identityView(store, keys);
  if (unaware === 0 || now) {
    await keys.succeed();
    await record('done', { key: keys.pin, unaware });
  }
  return await identityView(store, keys);
}

export async function identityView(store: Store, { pin, next }: OwnKeys): Promise<IdentityView> {
  const names: string[] = [];
  let unaware = 0;
  if (next !== null) {
    await store.snapshot(async (reader) => {
      for await (const machine of allMachines(reader)) {
        // Clevis asks by another certificate.
        if (machine.revoked || machine.pin === null || machine.state.serverKey === next) continue;
        unaware += 1;
        if (names.length < serverLimits.namesShown) names.push(machine.name);
      }
    });
  }
  return { key: pin, next, unaware, names };
}
