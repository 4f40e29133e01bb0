import { randomInt } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { askOperatorSocket } from '../../../src/os/operator-client.ts';
import type { OperatorResponses } from '../../../src/wire/operator.ts';
import { AskingMachine } from '../../support/asking.ts';
import { makeFleet } from '../../support/fleet.ts';
import { startKeyServer } from '../../support/key-server.ts';
import { ownFolder } from '../../support/tpm.ts';

// Fifty starts of a server, on cores that other tests share.
t.setTimeout(900_000);

const never = new AbortController().signal;
const KILLS = 50;
const MACHINES = 40;
/** Machines that do nothing but keep themselves alive: what the server knows of them it knows by that. */
const QUIET = 10;
/** Machines that are revoked in the course of it. */
const REVOKED = 25;

t.test('killed 50 times under load: no release without its record, no revocation lost', async (t) => {
  const state = `${ownFolder(t)}/state`;
  const fleet = await makeFleet(state, MACHINES + QUIET, MACHINES + QUIET);
  const server = await startKeyServer(t, '--state', state);
  const machines = fleet.map((asker) => new AskingMachine(asker, server.url));
  t.teardown(() => {
    for (const machine of machines) machine.close();
  });
  const released = new Map(fleet.slice(0, MACHINES).map(({ name }) => [name, 0]));
  const keptAliveAt = new Map<string, number>();
  const revoked = new Set<string>();
  let [goesOn, isCounting] = [true, true];
  const asking = machines.slice(0, MACHINES).map(async (machine) => {
    const { name } = machine.asker;
    while (goesOn) {
      const wasRevoked = revoked.has(name);
      const recovered = await machine.recover();
      await machine.keepAlive();
      if (recovered === 200) {
        released.set(name, (released.get(name) ?? 0) + 1);
        t.notOk(wasRevoked, `${name}: nothing is released once it is revoked`);
      }
      // No machine asks more than a few times a second.
      await pause(recovered === null ? 50 : 300);
    }
  });
  const keeping = machines.slice(MACHINES).map(async (machine) => {
    for (; goesOn; await pause(100)) {
      if (!isCounting) continue;
      const startMs = Date.now();
      if ((await machine.keepAlive()) === 200) keptAliveAt.set(machine.asker.name, startMs);
    }
  });
  /** Before any later keep-alive could hide that one was lost. */
  const looksBack = async () => {
    const { json } = await askOperatorSocket(server.socket, { command: 'list', after: '' }, never);
    const { machines: known } = json as OperatorResponses['list'];
    for (const [name, atMs] of keptAliveAt) {
      const seenMs = known.find((one) => one.name === name)?.['last-seen-ms'] ?? 0;
      t.ok(seenMs >= atMs, `${name}: an acknowledged keep-alive is not lost`);
    }
  };
  for (let kill = 0; kill < KILLS; kill++) {
    await pause(randomInt(20, 250));
    const name = `machine-${Math.floor(kill / 2)}`;
    const revoking =
      kill % 2 === 0 && kill / 2 < REVOKED
        ? server.command('revoke', name, '--yes').then(({ status }) => status === 0 && revoked.add(name))
        : null;
    // Now and then in the midst of it.
    if (revoking !== null && kill % 4 === 0) await revoking;
    const stopped = server.stop('SIGKILL');
    isCounting = false;
    await stopped;
    await revoking;
    await server.start();
    await looksBack();
    isCounting = true;
  }
  await pause(1000);
  goesOn = false;
  await Promise.all([...asking, ...keeping]);

  const verified = await server.command('audit', 'verify');
  t.equal(verified.status, 0, verified.stderr);
  const records = (await server.command('audit', 'show', '--json')).stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line).record);
  const { machines: listed } = JSON.parse((await server.command('list', '--json')).stdout);
  t.ok(revoked.size > REVOKED / 3, `${revoked.size} revocations were acknowledged`);
  for (const name of revoked) {
    const { status } = listed.find((one: { name: string }) => one.name === name);
    t.equal(status, 'revoked', `${name} is revoked`);
    const machine = machines.find(({ asker }) => asker.name === name);
    t.equal(await machine?.recover(), 403, `${name} gets nothing`);
  }
  let total = 0;
  for (const [name, answers] of released) {
    const recorded = records.filter(
      ({ what, machine, outcome }) => what === 'recover' && machine === name && outcome === 'done',
    );
    t.ok(recorded.length >= answers, `${name}: ${answers} answers, ${recorded.length} records`);
    total += answers;
  }
  t.ok(total > KILLS, `${total} keys were released in all`);
  t.equal(keptAliveAt.size, QUIET);
});
