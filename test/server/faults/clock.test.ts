import { existsSync, globSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { AskingMachine } from '../../support/asking.ts';
import { makeFleet } from '../../support/fleet.ts';
import { startKeyServer } from '../../support/key-server.ts';
import { ownFolder } from '../../support/tpm.ts';

t.setTimeout(300_000);

const [library = ''] = globSync('/usr/lib/*/faketime/libfaketimeMT.so.1');
if (!existsSync(library)) throw new Error('libfaketime is missing: install the package libfaketime');

/** A server whose wall clock the test steps; a step leaves the monotonic clock alone, as it does for real. */
async function steppedServer(t: Test, leaseMs: number) {
  const folder = ownFolder(t);
  const step = (by: string) => writeFileSync(`${folder}/step`, by);
  step('+0');
  const state = `${folder}/state`;
  const [asker] = await makeFleet(state, 1, 1, { leaseMs });
  if (asker === undefined) throw new Error('no machine');
  Object.assign(process.env, {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: `${folder}/step`,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  });
  const server = await startKeyServer(t, '--state', state).finally(() => {
    process.env.LD_PRELOAD = '';
  });
  const machine = new AskingMachine(asker, server.url);
  t.teardown(() => machine.close());
  return { server, machine, step };
}

/** Once more on a connection of its own, where the kept one was closed for the library's fakes: timers run out at a step. */
async function answerTo(ask: () => Promise<number | null>): Promise<number | null> {
  return (await ask()) ?? (await ask());
}

t.test('a machine with its proof is served, however the clock is stepped', async (t) => {
  const { server, machine, step } = await steppedServer(t, 60_000);
  for (const by of ['+0', '+1h', '+0', '-1h', '+1h']) {
    step(by);
    t.equal(await answerTo(() => machine.keepAlive()), 200, `${by}: keep-alive`);
    t.equal(await answerTo(() => machine.recover()), 200, `${by}: recover`);
    // A beat of the lease clock.
    await pause(4000);
  }
  const { stdout } = await server.command('audit', 'show', '--json');
  const hours = new Set([...stdout.matchAll(/"when":"[^T]+T(\d\d)/g)].map(([, hour]) => hour));
  t.ok(hours.size >= 2, 'the server has seen the steps', { hours });
  t.equal((await server.command('audit', 'verify')).status, 0);
});

t.test('a thief gains nothing by a clock that is set back', async (t) => {
  const { machine, step } = await steppedServer(t, 8000);
  t.equal(await machine.recover(), 200);
  step('-1h');
  // Lease and boot-grace end on the lease clock, which is counted in beats.
  await pause(25_000);
  t.equal(await machine.recover(), 403, 'locked: its lease has ended');
});
