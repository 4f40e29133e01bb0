import { readFileSync, statSync } from 'node:fs';
import t from 'tap';
import type { DatabaseStore } from '../../../src/server/store/open.ts';
import { onBoth, openAt, sqlitePlace } from './backends.ts';
import { countUp, newKey, newMachine, revoke, secretOf } from './stores.ts';

const MACHINES = 20;

async function fill(store: DatabaseStore): Promise<void> {
  await store.transaction(async (tx) => {
    for (let n = 0; n < MACHINES; n++) {
      await tx.addMachine(newMachine(`m${n}`));
      await tx.addKey(newKey(`id-of-m${n}`, `key of m${n}`), secretOf(`private ${n}`));
    }
    await tx.addMachine(newMachine('other'));
  });
}

/** Runs `meanwhile` while somebody reads, as a backup and the doctor do. */
async function whileRead(store: DatabaseStore, meanwhile: () => Promise<void>): Promise<void> {
  await store.snapshot(async (reader) => {
    // A snapshot begins with what is read first.
    await reader.machinesAfter('', 1);
    await meanwhile();
  });
}

onBoth('keys are destroyed while somebody reads, and nobody waits for that', async (t, place) => {
  // One wait for a lock takes 5 s, so waiting each time would take minutes.
  t.setTimeout(60_000);
  const store = await openAt(t, place);
  await fill(store);
  await whileRead(store, async () => {
    for (let n = 0; n < MACHINES; n++) {
      await revoke(store, `m${n}`);
      await countUp(store, 'other', `${n}`);
    }
  });
  t.same(await store.snapshot((reader) => reader.keysOf('id-of-m0')), []);
});

t.test('what was destroyed meanwhile is gone from the files with the next tick', async (t) => {
  const place = sqlitePlace(t);
  const store = await openAt(t, place);
  await fill(store);
  const wal = `${place.location}-wal`;
  await whileRead(store, () => revoke(store, 'm0'));
  t.ok(readFileSync(wal).includes('key of m0'), 'a reader may still want it');
  await countUp(store, 'other', 'no tick');
  t.ok(statSync(wal).size > 0, 'nor does every transaction look whether it can be done');
  await store.tick();
  t.equal(statSync(wal).size, 0);
  t.notOk(readFileSync(place.location).includes('key of m0'));
  t.ok(readFileSync(place.location).includes('key of m1'));
});

t.test('and a lock is waited for as before', async (t) => {
  const place = sqlitePlace(t);
  const store = await openAt(t, place);
  await fill(store);
  await revoke(store, 'm0');
  // By the database's own word, as two who wait for each other in one process would wait for ever.
  const [row] = await store.database.transaction((query) => query.rows('PRAGMA busy_timeout'));
  t.same({ ...row }, { timeout: 5000 });
});
