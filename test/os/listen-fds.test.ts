import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { listeningSockets } from '../../src/os/listen-fds.ts';
import { portToKeep } from '../support/ports.ts';
import { run } from '../support/run.ts';

const NODE = new URL('../../node_modules/.bin/node', import.meta.url).pathname;
const PROGRAM = new URL('../support/listening.ts', import.meta.url).pathname;

/** systemd's own listener, which starts the program with the first connection. */
async function activated(t: Test, ports: readonly number[], names: string) {
  const listen = ports.flatMap((port) => ['-l', `127.0.0.1:${port}`]);
  const args = [...listen, `--fdname=${names}`, NODE, '--no-warnings', PROGRAM];
  const child = spawn('systemd-socket-activate', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill();
    await ended;
  });
  const lines = createInterface({ input: child.stderr });
  const said: string[] = [];
  const listening = Promise.withResolvers<void>();
  lines.on('line', (line) => {
    said.push(line);
    if (said.filter((one) => one.startsWith('Listening on')).length === ports.length) listening.resolve();
  });
  await listening.promise;
  return { child, ended, said };
}

t.test('serves on the socket that systemd passed', async (t) => {
  const port = await portToKeep(2);
  const { child, ended } = await activated(t, [port, port + 1], 'operator:https');
  const command = ['/usr/bin/curl', '-sSk', `https://127.0.0.1:${port + 1}/`];
  const { stdout, stderr } = await run(command, Buffer.alloc(0), {});
  t.same(JSON.parse(stdout.toString() || stderr), {
    sockets: [
      ['operator', 3],
      ['https', 4],
    ],
    left: [],
  });
  child.kill();
  t.same(await ended, [0, null], 'a graceful stop');
});

t.test('a socket that nobody knows, and two of one name', async (t) => {
  for (const names of ['https:other', 'https:https']) {
    const port = await portToKeep(2);
    const { ended, said } = await activated(t, [port, port + 1], names);
    await run(['/usr/bin/curl', '-sSk', '-m', '5', `https://127.0.0.1:${port}/`], Buffer.alloc(0), {});
    t.not((await ended)[0], 0);
    t.match(said.join('\n'), /expected FileDescriptorName= https, operator, one each/, names);
  }
});

t.test('none, or those of another process', async (t) => {
  for (const environment of [
    {},
    { LISTEN_PID: '1', LISTEN_FDS: '1', LISTEN_FDNAMES: 'https' },
    { LISTEN_PID: String(process.pid), LISTEN_FDS: '0' },
    { LISTEN_PID: String(process.pid), LISTEN_FDS: 'x' },
  ]) {
    t.equal(listeningSockets(environment, ['https']).size, 0);
    t.same(environment, {});
  }
});
