import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Store } from '../../../src/server/store/store.ts';
import { onBoth, openAt, postgresPlace, sharedPostgres, sqlitePlace } from './backends.ts';
import {
  auditOf,
  machineNamed,
  newKey,
  newMachine,
  type Place,
  revoke,
  secretOf,
  stateOf,
} from './stores.ts';

async function withTwo(store: Store): Promise<void> {
  await store.transaction(async (tx) => {
    for (const name of ['ada', 'bob']) {
      await tx.addMachine(newMachine(name));
      await tx.addKey(newKey(`id-of-${name}`, `key of ${name}`), secretOf(`the private key of ${name}`));
    }
  });
}

const undo = `UPDATE machines SET revoked = 0 WHERE name = 'ada'`;

onBoth('who is revoked has no keys any more, and the others have theirs', async (t, place) => {
  const store = await openAt(t, place);
  await withTwo(store);
  await revoke(store, 'ada');
  t.equal(await store.transaction((tx) => tx.key('key of ada')), null);
  t.ok(await store.transaction((tx) => tx.key('key of bob')));
  t.match(await store.transaction((tx) => machineNamed(tx, 'ada')), {
    revoked: true,
    state: { is: 'revoked' },
  });
});

onBoth('a database from before the revocation is put right at the start', async (t, place) => {
  const store = await openAt(t, place);
  await withTwo(store);
  await store.close();
  // Another store with the same machines, as a restored copy would have; this process's own tombstones say otherwise.
  writeFileSync(
    place.tombstones,
    '{"machine":"id-of-ada","name":"ada"}\n{"machine":"id-of-eve","name":"eve"}\n',
  );
  const again = await openAt(t, place);
  t.same(await stateOf(again, 'ada'), { is: 'revoked', n: 0 });
  t.equal(await again.transaction((tx) => tx.key('key of ada')), null);
  t.same(await stateOf(again, 'bob'), { is: 'armed', n: 0 });
  const records = (await auditOf(again)).map((link) => JSON.parse(link.text));
  t.match(records, [{ who: 'server', what: 'revoke', outcome: 'tombstone', machine: 'ada' }]);
});

onBoth('and a process that knows nothing yet learns it from the database', async (t, place) => {
  const store = await openAt(t, place);
  await withTwo(store);
  await revoke(store, 'ada');
  await store.close();
  rmSync(place.tombstones);
  await (await openAt(t, place)).close();
  t.same(JSON.parse(readFileSync(place.tombstones, 'utf8')), { machine: 'id-of-ada', name: 'ada' });
});

onBoth('a row that is made to look unrevoked is refused', async (t, place) => {
  const store = await openAt(t, place);
  await withTwo(store);
  await revoke(store, 'ada');
  await store.close();
  await place.tamper(undo);
  await t.rejects(openAt(t, place), { code: 'damaged', message: /machine ada/ });
});

onBoth('without a place for the tombstone nothing is revoked, and it says so', async (t, place) => {
  const store = await openAt(t, { ...place, tombstones: join(place.folder, 'missing', 'tombstones') });
  await withTwo(store);
  await t.rejects(revoke(store, 'ada'), { code: 'unavailable', message: /missing/ });
  t.match(await store.transaction((tx) => machineNamed(tx, 'ada')), {
    revoked: false,
    state: { is: 'armed' },
  });
  t.ok(await store.transaction((tx) => tx.key('key of ada')));
});

t.test('a line that is no tombstone: nothing starts', async (t) => {
  for (const text of ['x', '{}', '{"machine":1}', 'null']) {
    const place = sqlitePlace(t);
    writeFileSync(place.tombstones, `{"machine":"a","name":"a"}\n${text}\n`);
    const message = new RegExp(`^${place.tombstones}:2: expected`);
    await t.rejects(openAt(t, place), { code: 'damaged', message }, text);
  }
});

t.test('a destroyed key’s bytes are in none of the files', async (t) => {
  const place = sqlitePlace(t);
  const store = await openAt(t, place);
  await withTwo(store);
  // Sealed bytes cannot be looked for; this one stands beside them in the same row.
  const found = (text: string) =>
    ['', '-wal'].map((suffix) => readFileSync(`${place.location}${suffix}`).includes(text));
  t.same(found('key of ada'), [false, true]);
  await revoke(store, 'ada');
  t.same(found('key of ada'), [false, false]);
  t.ok(found('key of bob').includes(true));
});

t.test('a process hears of another’s revocation and keeps a tombstone of its own', async (t) => {
  const place = await postgresPlace(t, await sharedPostgres());
  const other: Place = { ...place, tombstones: join(place.folder, 'other') };
  const [here, there] = [await openAt(t, place), await openAt(t, other)];
  await withTwo(here);
  const told = new Promise<void>((resolve) => {
    there.subscribe(({ kind, machine }) => {
      if (kind === 'revoked' && machine === 'id-of-ada') resolve();
    });
  });
  await revoke(here, 'ada');
  t.match(
    await there.transaction((tx) => machineNamed(tx, 'ada')),
    { revoked: true },
    'in the very next transaction',
  );
  await told;
  await there.close();
  t.same(JSON.parse(readFileSync(other.tombstones, 'utf8')), { machine: 'id-of-ada', name: 'ada' });
});

t.test('under load on two processes none that starts after a revocation succeeds', async (t) => {
  const place = await postgresPlace(t, await sharedPostgres());
  const stores = [
    await openAt(t, place),
    await openAt(t, { ...place, tombstones: join(place.folder, 'other') }),
  ];
  const [here] = stores;
  if (here === undefined) throw new Error('no store');
  await withTwo(here);
  const succeeded: number[] = [];
  let stop = false;
  const release = async (store: Store) => {
    const startedMs = performance.now();
    const released = await store.transaction(async (tx) => {
      const machine = await machineNamed(tx, 'ada');
      tx.record({ who: 'machine', what: 'recover', outcome: machine.revoked ? 'revoked' : 'released' });
      return !machine.revoked;
    });
    if (released) succeeded.push(startedMs);
  };
  const load = stores.flatMap((store) =>
    Array.from({ length: 6 }, async () => {
      while (!stop) await release(store);
    }),
  );
  while (succeeded.length < 200) await new Promise((resolve) => setTimeout(resolve, 5));
  await revoke(here, 'ada');
  const revokedAtMs = performance.now();
  await Promise.all(stores.flatMap((store) => Array.from({ length: 50 }, () => release(store))));
  stop = true;
  await Promise.all(load);
  t.same(
    succeeded.filter((startedMs) => startedMs > revokedAtMs),
    [],
  );
  const outcomes = (await auditOf(here))
    .map((link) => JSON.parse(link.text))
    .map(({ what, outcome }) => `${what} ${outcome}`);
  const at = outcomes.indexOf('revoke done');
  t.same(
    outcomes.slice(at).filter((outcome) => outcome === 'recover released'),
    [],
    'nor does any record say so',
  );
  t.ok(outcomes.slice(0, at).every((outcome) => outcome === 'recover released'));
});
