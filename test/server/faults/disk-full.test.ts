import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { AskingMachine } from '../../support/asking.ts';
import { makeFleet } from '../../support/fleet.ts';
import { startKeyServer } from '../../support/key-server.ts';
import { ownFolder } from '../../support/tpm.ts';

t.setTimeout(300_000);

/** More than one page of the audit log has room for. */
const REQUESTS = 200;

t.test('a full disk: nothing is released without its record, and with room again it goes on', async (t) => {
  const state = `${ownFolder(t)}/state`;
  mkdirSync(state);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=0700', 'none', state]);
  t.teardown(() => execFileSync('umount', ['--lazy', state]));
  const fleet = await makeFleet(state, 4, 4);
  const server = await startKeyServer(t, '--state', state);
  const machines = fleet.map((asker) => new AskingMachine(asker, server.url));
  t.teardown(() => {
    for (const machine of machines) machine.close();
  });
  let released = 0;
  for (const machine of machines) released += (await machine.recover()) === 200 ? 1 : 0;
  t.equal(released, 4);

  takeAllRoom(`${state}/filler`);
  const statuses = new Set<number | null>();
  for (let request = 0; request < REQUESTS && !statuses.has(503); request++) {
    const status = (await machines[request % machines.length]?.recover()) ?? null;
    statuses.add(status);
    if (status === 200) released++;
  }
  t.ok(statuses.has(503), 'refused for now', { statuses });
  t.match(server.journal.join('\n'), /no room on the disk/, 'the journal says why');

  rmSync(`${state}/filler`);
  for (let tries = 0; ; tries++) {
    if ((await machines[0]?.recover()) === 200) break;
    if (tries > 100) throw new Error('it does not recover');
    await pause(300);
  }
  released++;
  const { stdout } = await server.command('audit', 'show', '--json');
  const records = stdout.match(/"what":"recover","outcome":"done"/g) ?? [];
  t.ok(records.length >= released, `${released} answers, ${records.length} records`);
  t.equal((await server.command('audit', 'verify')).status, 0);
});

function takeAllRoom(path: string): void {
  const fd = openSync(path, 'w');
  for (const size of [64 * 1024, 4096, 512]) {
    try {
      for (;;) writeSync(fd, Buffer.alloc(size));
    } catch {
      // Less fits.
    }
  }
  closeSync(fd);
}
