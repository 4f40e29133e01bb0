import { existsSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { fetchLuksKey } from '../support/command-line.ts';
import { until } from '../support/keepalive-machine.ts';
import { type KeyServerProcess, startKeyServer } from '../support/key-server.ts';

t.setTimeout(300_000);

async function machines(server: KeyServerProcess): Promise<string[]> {
  const { stdout } = await server.command('list', '--json');
  return (JSON.parse(stdout) as { machines: { name: string; status: string }[] }).machines.map(
    ({ name, status }) => `${name} ${status}`,
  );
}

function stage(t: Test, server: KeyServerProcess) {
  const etc = t.testdir({});
  const join = (line: string) => fetchLuksKey(['join', '--name', 'home', '--etc', etc], line);
  return {
    etc,
    join,
    /** The machine's key is the one that the server has. */
    async works(line: string, status: string) {
      const joined = await join(line);
      t.match(joined, { status: 0, stdout: /^joined home as nas\n/ }, joined.stderr);
      t.same(await machines(server), [`nas ${status}`]);
      t.same(readdirSync(`${etc}/identity`), ['home'], 'nothing is left behind');
      return await fetchLuksKey(['seal', 'remote', '{"server":"home"}', '--etc', etc], 'secret');
    },
  };
}

const AGAIN = /hint: the server may have taken the invitation: run this again, with the same line/;

t.test('a fault here after the server has taken the key: the key is kept, and taken up again', async (t) => {
  const server = await startKeyServer(t);
  const { etc, join, works } = stage(t, server);
  const line = await server.invite('nas');
  mkdirSync(`${etc}/config.yaml.new`);
  t.match(await join(line), { status: 5, stderr: AGAIN });
  t.same(await machines(server), ['nas armed']);
  t.match(await join(line), { status: 5, stderr: AGAIN }, 'as often as it fails');
  rmdirSync(`${etc}/config.yaml.new`);
  t.match(await works(line, 'armed'), { status: 0 });
});

t.test('one that joins anew, and stays locked', async (t) => {
  const server = await startKeyServer(t);
  const old = t.testdir({ old: {} });
  const args = ['join', '--name', 'home', '--etc', `${old}/old`];
  t.match(await fetchLuksKey(args, await server.invite('nas')), { status: 0 });
  const { etc, join, works } = stage(t, server);
  const line = await server.invite('nas', '--rejoin');
  mkdirSync(`${etc}/config.yaml.new`);
  t.match(await join(line), { status: 5, stderr: AGAIN });
  rmdirSync(`${etc}/config.yaml.new`);
  await works(line, 'locked');
});

/** In front of a server; while `loses`, nothing comes back after the handshake. */
async function lossyLine(t: Test, server: KeyServerProcess) {
  const state = { loses: true };
  const open = new Set<Socket>();
  const proxy = createServer((client) => {
    const behind = connect(Number(new URL(server.url).port), '127.0.0.1');
    let bursts = 0;
    for (const socket of [client, behind]) open.add(socket.on('error', () => socket.destroy()));
    client.on('data', (bytes) => {
      bursts += 1;
      behind.write(bytes);
    });
    behind.on('data', (bytes) => {
      if (!state.loses || bursts < 2) client.write(bytes);
    });
    client.on('close', () => behind.destroy());
    behind.on('close', () => client.destroy());
  });
  await new Promise<void>((ready) => proxy.listen(0, '127.0.0.1', ready));
  const cut = () => {
    for (const socket of open) socket.destroy();
  };
  t.teardown(() => {
    cut();
    proxy.close();
  });
  return { state, cut, url: `https://127.0.0.1:${(proxy.address() as AddressInfo).port}` };
}

t.test('the answer is lost', async (t) => {
  const server = await startKeyServer(t);
  const between = await lossyLine(t, server);
  const { join, works } = stage(t, server);
  const line = await server.invite('nas', '--url', between.url);
  const joining = join(line);
  await until('the server has taken the key', async () => (await machines(server)).length === 1);
  between.cut();
  t.match(await joining, { status: 5, stderr: AGAIN });
  between.state.loses = false;
  t.match(await works(line, 'armed'), { status: 0 });
});

t.test('nothing is left where the server has not taken the key', async (t) => {
  const server = await startKeyServer(t);
  const { etc, join } = stage(t, server);
  const line = await server.invite('nas');
  await server.stop();
  const away = await join(line);
  t.match(away, { status: 5, stderr: /connection refused/ });
  t.notMatch(away.stderr, AGAIN);
  t.same(readdirSync(`${etc}/identity`), []);
  await server.start();
  const forged = line.replace(/invitation=.*/, `invitation=${'A'.repeat(43)}`);
  t.match(await join(forged), { status: 4, stderr: /does not take this invitation/ });
  t.same(readdirSync(`${etc}/identity`), []);
  t.notOk(existsSync(`${etc}/config.yaml`));

  mkdirSync(`${etc}/config.yaml.new`);
  t.match(await join(line), { status: 5, stderr: AGAIN });
  rmdirSync(`${etc}/config.yaml.new`);
  await server.command('revoke', 'nas', '--yes');
  t.match(await join(line), { status: 4, stderr: /does not take this invitation/ }, 'revoked in between');
  t.same(readdirSync(`${etc}/identity`), []);
  t.same(await machines(server), ['nas revoked']);
});
