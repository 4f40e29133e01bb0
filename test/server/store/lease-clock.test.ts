import t from 'tap';
import type { Clock } from '../../../src/base/ports.ts';
import { clock } from '../../../src/os/clock.ts';
import { onBoth, openAt, postgresPlace, sharedPostgres } from './backends.ts';

/** A clock that stands still until it is moved. */
function handClock(): Clock & { move(ms: number): void } {
  let nowMs = 1_000_000;
  return { nowMs: () => nowMs, sleep: clock.sleep, move: (ms) => (nowMs += ms) };
}

onBoth('the lease clock goes on with monotonic time, by no more than a tick', async (t, place) => {
  const own = handClock();
  const store = await openAt(t, place, { clock: own });
  t.equal(store.now().leaseMs, 0);
  own.move(4_000);
  t.equal(store.now().leaseMs, 4_000);
  own.move(3_600_000);
  t.equal(store.now().leaseMs, 10_000, 'a server that was stopped for an hour');
});

onBoth('it goes on after a restart where it stopped, and downtime does not count', async (t, place) => {
  const first = await openAt(t, place);
  // Real time, which PostgreSQL's own clock must see too.
  await new Promise((resolve) => setTimeout(resolve, 60));
  await first.tick();
  await first.close();
  await new Promise((resolve) => setTimeout(resolve, 300));
  const own = handClock();
  const second = await openAt(t, place, { clock: own });
  const { leaseMs } = second.now();
  t.ok(leaseMs >= 50 && leaseMs < 300, `${leaseMs}`);
});

onBoth('a stepped wall clock moves nothing', async (t, place) => {
  let wallMs = Date.UTC(2026, 0, 1);
  const own = handClock();
  const store = await openAt(t, place, { clock: own, wallMs: () => wallMs });
  for (const step of [3_600_000, -7_200_000]) {
    wallMs += step;
    await store.tick();
    t.same(store.now(), { leaseMs: 0, wallMs });
  }
});

t.test('several processes on PostgreSQL share one clock, and do not add up', async (t) => {
  const place = await postgresPlace(t, await sharedPostgres());
  const stores = [await openAt(t, place), await openAt(t, place), await openAt(t, place)];
  const startedMs = performance.now();
  while (performance.now() - startedMs < 500) for (const store of stores) await store.tick();
  const passedMs = performance.now() - startedMs;
  for (const store of stores)
    t.ok(store.now().leaseMs <= passedMs + 300, `${store.now().leaseMs} of ${passedMs}`);
  t.ok((stores[0]?.now().leaseMs ?? 0) > 250, 'but it goes');
});

t.test('a database whose clock was stepped adds no more than what passed here', async (t) => {
  const place = await postgresPlace(t, await sharedPostgres());
  const own = handClock();
  const store = await openAt(t, place, { clock: own });
  await place.tamper('UPDATE store SET ticked_ms = ticked_ms - 3600000');
  own.move(2_000);
  await store.tick();
  t.equal(store.now().leaseMs, 2_000, 'stepped ahead by an hour');
  await place.tamper('UPDATE store SET ticked_ms = ticked_ms + 3600000');
  own.move(2_000);
  await store.tick();
  t.ok(store.now().leaseMs <= 4_000, 'stepped back by an hour: this process still counts its own');
  own.move(2_000);
  await store.tick();
  t.ok(store.now().leaseMs <= 6_000);
});
