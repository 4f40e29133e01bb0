import t, { type Test } from 'tap';
import { atTerminal } from '../support/command-line.ts';
import { makeFleet } from '../support/fleet.ts';
import { KEY_SERVER, type KeyServerProcess, startKeyServer } from '../support/key-server.ts';
import { run } from '../support/run.ts';
import { ownFolder } from '../support/tpm.ts';

t.setTimeout(300_000);

/** A server that knows `machine-0` and so on, each with one key. */
async function serverWith(t: Test, machines: number): Promise<KeyServerProcess> {
  const state = `${ownFolder(t)}/state`;
  await makeFleet(state, machines, machines);
  return startKeyServer(t, '--state', state);
}

async function shown(server: KeyServerProcess, name: string) {
  return JSON.parse((await server.command('show', name, '--json')).stdout);
}

const COPIES = /^copies of its keys may be in backups, .* until master rotate$/m;

t.test('revoke has the name typed again, and says what it cannot destroy', async (t) => {
  const server = await serverWith(t, 3);
  const revoke = (name: string) => {
    const command = [...KEY_SERVER, 'revoke', name, '--socket', server.socket].join(' ');
    return atTerminal(t, t.testdir(), command);
  };
  for (const typed of ['y\n', 'yes\n', '\n', 'machine-1\n', 'machine-0 x\n', '\x04']) {
    const terminal = revoke('machine-0');
    await terminal.shows('machine-0: its keys are destroyed, for ever.\nType its name to go on: ');
    terminal.press(typed);
    const { status, screen } = await terminal.ended;
    t.equal(status, 4, JSON.stringify(typed));
    t.match(screen, /what was typed is not "machine-0": nothing was done/);
  }
  t.match(await shown(server, 'machine-0'), { status: 'armed', keys: 1 });
  const terminal = revoke('machine-0');
  await terminal.shows('go on: ');
  terminal.press('machine-0\n');
  const { status, screen } = await terminal.ended;
  t.equal(status, 0);
  t.match(screen, COPIES);
  t.match(await shown(server, 'machine-0'), { status: 'revoked', keys: 0 });

  const alone = [
    '/usr/bin/setsid',
    '--wait',
    ...KEY_SERVER,
    'revoke',
    'machine-1',
    '--socket',
    server.socket,
  ];
  const unasked = await run(alone, Buffer.from('machine-1\n'), {});
  t.equal(unasked.status, 4);
  t.match(
    unasked.stderr,
    /no terminal to ask at: machine-1: its keys are destroyed.*hint: a script says --yes\)/,
  );
  t.match(await shown(server, 'machine-1'), { status: 'armed' });
  const scripted = await server.command('revoke', 'machine-1', '--yes', '--json');
  t.match(JSON.parse(scripted.stdout), { name: 'machine-1', status: 'revoked' });
  t.match(scripted.stderr, COPIES);
  t.match(await shown(server, 'machine-2'), { status: 'armed', keys: 1 });
});
