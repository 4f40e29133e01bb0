import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { serveLocally } from '../../src/os/local-server.ts';
import { pinOf, text } from '../support/https.ts';
import { run } from '../support/run.ts';

const NODE = new URL('../../node_modules/.bin/node', import.meta.url).pathname;

function place(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'local-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return join(folder, 'socket');
}

const service = {
  admits: () => true,
  crowded() {},
  answer: async (call: Parameters<typeof pinOf>[0]) => text(200, pinOf(call)),
  refuse: () => text(400, ''),
};

async function asked(path: string): Promise<string> {
  const command = ['/usr/bin/curl', '-sS', '--unix-socket', path, 'http://localhost/'];
  return (await run(command, Buffer.alloc(0), {})).stdout.toString();
}

t.test('for root and the server’s own user, whose id is the kernel’s word', async (t) => {
  const path = place(t);
  const before = process.umask();
  const listener = await serveLocally(path, service);
  t.equal(process.umask(), before);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(await asked(path), `uid ${process.getuid?.()}`);
  await listener.stop();
  t.throws(() => statSync(path), { code: 'ENOENT' });
});

t.test('one that was left behind is replaced, another file is not', async (t) => {
  const path = place(t);
  const killed =
    "require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))";
  t.equal((await run([NODE, '-e', killed, path], Buffer.alloc(0), {})).status, null);
  t.ok(statSync(path).isSocket());
  const listener = await serveLocally(path, service);
  t.match(await asked(path), /^uid /);
  await listener.stop();
  writeFileSync(path, 'precious');
  await t.rejects(serveLocally(path, service), {
    code: 'bad-config',
    message: /expected a socket or nothing/,
  });
  await t.rejects(serveLocally('/proc/no/socket', service), { code: 'unavailable' });
});
