import t from 'tap';
import { startPostgres } from '../../support/postgres.ts';
import { onBoth, openAt, postgresPlace } from './backends.ts';
import { auditOf, countUp, machineNamed, newMachine, stateOf } from './stores.ts';
import { expectNothingLost, startWriter, writersKey } from './writers.ts';

const machines = ['ada', 'bob', 'cyd'];

onBoth('a process that is killed again and again in the midst of commits loses nothing', async (t, place) => {
  const own = { ...place, masterKey: writersKey };
  const first = await openAt(t, own);
  await first.transaction(async (tx) => {
    for (const machine of machines) await tx.addMachine(newMachine(machine));
  });
  await first.close();
  const confirmed: string[] = [];
  for (let round = 0; round < 8; round++) {
    const writer = await startWriter(t, own, `round${round}`, machines);
    await writer.more(50 + round * 7);
    await writer.kill();
    confirmed.push(...writer.confirmed);
  }
  const store = await openAt(t, own);
  await expectNothingLost(t, store, confirmed, machines);
  t.ok(await countUp(store, 'ada', 'goes on'));
});

t.test(
  'PostgreSQL that is stopped, or killed, under two processes: nothing is lost, and they go on',
  async (t) => {
    const server = await startPostgres(t);
    const place = { ...(await postgresPlace(t, server)), masterKey: writersKey };
    const store = await openAt(t, place);
    await store.transaction(async (tx) => {
      for (const machine of machines) await tx.addMachine(newMachine(machine));
    });
    const events: string[] = [];
    store.subscribe(({ kind }) => events.push(kind));
    const writers = await Promise.all(['one', 'two'].map((name) => startWriter(t, place, name, machines)));
    for (const end of [server.stop, server.kill]) {
      await Promise.all(writers.map((writer) => writer.more(30)));
      await end();
      events.length = 0;
      await t.rejects(stateOf(store, 'ada'), { code: 'unavailable', message: /^PostgreSQL: / });
      await server.start();
      await Promise.all(writers.map((writer) => writer.more(30)));
    }
    await Promise.all(writers.map((writer) => writer.kill()));
    const confirmed = writers.flatMap((writer) => writer.confirmed);
    await expectNothingLost(t, store, confirmed, machines);

    // Whoever watches is told that it may have missed something, and hears again.
    while (!events.includes('resync')) await new Promise((resolve) => setTimeout(resolve, 20));
    const told = new Promise<void>((resolve) => {
      store.subscribe(({ kind }) => {
        if (kind === 'changed') resolve();
      });
    });
    await store.transaction(async (tx) => tx.announce(await machineNamed(tx, 'ada')));
    await told;
  },
);

t.test('two processes that race for one machine: one chain, every count once', async (t) => {
  const server = await startPostgres(t);
  const place = { ...(await postgresPlace(t, server)), masterKey: writersKey };
  const store = await openAt(t, place);
  await store.transaction((tx) => tx.addMachine(newMachine('ada')));
  const writers = await Promise.all(
    ['one', 'two'].map((name) => startWriter(t, place, name, Array(8).fill('ada'))),
  );
  await Promise.all(writers.map((writer) => writer.more(200)));
  await Promise.all(writers.map((writer) => writer.kill()));
  const confirmed = writers.flatMap((writer) => writer.confirmed);
  await expectNothingLost(t, store, confirmed, ['ada']);
  t.ok((await auditOf(store)).length >= 400);
});
