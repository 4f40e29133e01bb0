import { serverLimits } from '../../../src/base/server-limits.ts';
import { destroyer } from '../../../src/server/api/deleted-keys.ts';
import { onBoth, openAt } from '../store/backends.ts';
import { newKey, newMachine, secretOf } from '../store/stores.ts';

onBoth(
  'a deleted key comes back for seven days; after that it is destroyed, and recorded',
  async (t, place) => {
    const store = await openAt(t, place);
    let nowMs = 0;
    const destroy = destroyer(store, { nowMs: () => nowMs, sleep: async () => {} });
    const { leaseMs } = store.now();
    await store.transaction(async (tx) => {
      await tx.addMachine(newMachine('ada'));
      for (const kid of ['old', 'young', 'used']) await tx.addKey(newKey('id-of-ada', kid), secretOf(kid));
      await tx.setDeleted('old', leaseMs - serverLimits.deletedKeyMs);
      await tx.setDeleted('young', leaseMs - serverLimits.deletedKeyMs + 60_000);
    });
    const kids = () =>
      store.snapshot(async (reader) => (await reader.keysOf('id-of-ada')).map(({ kid }) => kid).toSorted());
    await destroy();
    t.strictSame(await kids(), ['used', 'young']);
    const links = await store.snapshot((reader) => reader.linksAfter(0, 100));
    t.match(links.at(-1)?.text, /"what":"destroy-deleted","outcome":"done".*"keys":1/);

    await store.transaction((tx) => tx.setDeleted('young', leaseMs - serverLimits.deletedKeyMs));
    await destroy();
    t.strictSame(await kids(), ['used', 'young'], 'it looks once an hour');
    nowMs += 3_600_000;
    await destroy();
    t.strictSame(await kids(), ['used']);
  },
);
