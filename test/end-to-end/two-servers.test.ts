import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { parseKeyPin } from '../../src/base/key-pin.ts';
import { askOperatorSocket } from '../../src/os/operator-client.ts';
import { serverConnector } from '../../src/os/server-connection.ts';
import { eventData } from '../../src/wire/event-stream.ts';
import { AskingMachine } from '../support/asking.ts';
import { type Asker, makeFleet } from '../support/fleet.ts';
import { type KeyServerProcess, startKeyServer } from '../support/key-server.ts';
import { startPostgres } from '../support/postgres.ts';
import { ownFolder } from '../support/tpm.ts';

t.setTimeout(600_000);

const { signal } = new AbortController();

/** Two processes on one PostgreSQL, under one key, which know a fleet. */
async function twoServers(t: Test, machines: number, lease: { readonly leaseMs?: number } = {}) {
  const folder = ownFolder(t);
  const postgres = await startPostgres(t);
  const location = await postgres.database();
  const store = join(folder, 'store');
  writeFileSync(store, location, { mode: 0o600 });
  const states = [join(folder, 'one'), join(folder, 'two')] as const;
  const fleet = await makeFleet(states[0], machines, machines, { location, ...lease });
  const one = await startKeyServer(t, '--state', states[0], '--store', `file:${store}`);
  cpSync(states[0], states[1], { recursive: true });
  const two = await startKeyServer(t, '--state', states[1], '--store', `file:${store}`);
  return { fleet, one, two };
}

/** Until it is done: under load the database may say for a while that it is not. */
async function revoke(server: KeyServerProcess, name: string): Promise<void> {
  for (;;) {
    const { status, json } = await askOperatorSocket(server.socket, { command: 'revoke', name }, signal);
    if (status === 200) return;
    const { code } = json as { code: string };
    if (code !== 'unavailable') throw new Error(`${name}: ${JSON.stringify(json)}`);
  }
}

/** What a machine that watches hears, one by one. */
async function watching(t: Test, server: KeyServerProcess, { identity }: Asker) {
  const { key } = JSON.parse((await server.command('identity', 'show', '--json')).stdout);
  const pinsSha256 = [parseKeyPin(key) ?? Buffer.alloc(0)];
  const tls = { clientCertificate: identity.certificate, clientKey: identity.key, pinsSha256 };
  const connection = await serverConnector.connect(new URL(server.url), tls, 60_000, signal);
  t.teardown(() => connection.close());
  const { chunks } = await connection.stream('/v1/watch', 300_000, signal);
  const events = eventData(chunks);
  return async (): Promise<unknown> => JSON.parse((await events.next()).value ?? '{}').status;
}

t.test('under load, nothing is released by any process once a machine is revoked', async (t) => {
  const MACHINES = 80;
  const REVOKED = 20;
  /** Requests of each revoked machine, to each process, after it was revoked. */
  const AFTER = 3;
  const { fleet, one, two } = await twoServers(t, MACHINES);
  const revokedAt = new Map<string, number>();
  const asked: { name: string; startedAt: number; status: number | null }[] = [];
  let goesOn = true;
  const asking = fleet.flatMap((asker, index) =>
    // Those that are to be revoked ask both; of the others each asks one.
    (index < REVOKED ? [one, two] : [index % 2 === 0 ? one : two]).map(async ({ url }) => {
      const machine = new AskingMachine(asker, url);
      t.teardown(() => machine.close());
      while (goesOn) {
        const startedAt = performance.now();
        asked.push({ name: asker.name, startedAt, status: await machine.recover() });
        // Within what one machine may ask.
        await pause(400);
      }
    }),
  );
  const released = () => asked.filter(({ status }) => status === 200).length;
  while (released() < MACHINES) await pause(50);
  const startedAt = performance.now();
  const before = asked.length;
  for (let index = 0; index < REVOKED; index++) {
    const name = `machine-${index}`;
    await revoke(index % 2 === 0 ? one : two, name);
    revokedAt.set(name, performance.now());
    await pause(25);
  }
  const laterOf = (name: string) =>
    asked.filter((each) => each.name === name && each.startedAt > (revokedAt.get(name) ?? Infinity));
  const isEnough = () => [...revokedAt.keys()].every((name) => laterOf(name).length >= 2 * AFTER);
  while (!isEnough()) await pause(100);
  const perSecond = (asked.length - before) / ((performance.now() - startedAt) / 1000);
  t.comment(`${Math.round(perSecond)} requests a second meanwhile`);
  goesOn = false;
  await Promise.all(asking);
  const later = [...revokedAt.keys()].flatMap(laterOf);
  t.same(
    [...new Set(later.map(({ status }) => status))],
    [403],
    `${later.length} requests of revoked machines`,
  );
  const others = asked.filter(({ name }) => !revokedAt.has(name));
  t.ok(others.filter(({ status }) => status === 200).length > MACHINES, 'the others are served');
  const verified = await one.command('audit', 'verify');
  t.equal(verified.status, 0, verified.stderr);
});

t.test('a machine that watches one process hears what another one did', async (t) => {
  const { fleet, one, two } = await twoServers(t, 1);
  const [asker] = fleet;
  if (asker === undefined) throw new Error('no machine');
  const hears = await watching(t, two, asker);
  t.equal(await hears(), 'armed');
  await one.command('lock', asker.name);
  t.equal(await hears(), 'locked');
  await one.command('allow', asker.name);
  t.equal(await hears(), 'armed');
  await revoke(one, asker.name);
  t.equal(await hears(), 'revoked');
});

t.test('and that its lease has ended, which nobody did', async (t) => {
  const { fleet, one, two } = await twoServers(t, 1, { leaseMs: 20_000 });
  const [asker] = fleet;
  if (asker === undefined) throw new Error('no machine');
  const machine = new AskingMachine(asker, one.url);
  t.teardown(() => machine.close());
  const hears = await watching(t, two, asker);
  await one.command('allow', asker.name);
  t.equal(await machine.keepAlive(), 200);
  // On a slow host the lease may have ended before it was allowed, too.
  while ((await hears()) !== 'locked');
  t.equal(await machine.keepAlive(), 200, 'it was late only');
  t.equal(await hears(), 'armed');
});
