import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { peerName } from '../../src/os/libc.ts';
import { askSocket } from '../../src/os/named-client.ts';

const ADDRESS = Buffer.from(`\0${process.pid}/cryptsetup/data`);
const never = new AbortController().signal;

/** A folder whose path leaves room in an address of 108 bytes (unix(7)). */
function shortFolder(t: Test): string {
  const folder = mkdtempSync('/tmp/named-');
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Listens, and hands each connection to `answer`, which ends it. */
async function listen(t: Test, answer: (client: Socket) => void): Promise<string> {
  const path = `${shortFolder(t)}/s`;
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    clients.add(client);
    client.on('error', () => {});
    answer(client);
  }).listen(path);
  await once(server, 'listening');
  t.teardown(() => {
    for (const client of clients) client.destroy();
    server.close();
  });
  return path;
}

const openDescriptors = () => readdirSync('/proc/self/fd').length;

t.test(
  'asks from the address that it was given, says that nothing follows, and reads to the end',
  async (t) => {
    const seen: string[] = [];
    const path = await listen(t, (client) => {
      const { fd } = (client as unknown as { _handle: { fd: number } })._handle;
      seen.push(peerName(fd).toString());
      // Only after the client has shut its writing side, as systemd does, it gets anything.
      client.once('end', () => {
        client.write('the ');
        setTimeout(() => client.end('key\0'), 20);
      });
      client.on('data', (bytes) => seen.push(`${bytes.length} bytes`)).resume();
    });
    t.equal((await askSocket(path, ADDRESS, 8, never)).toString(), 'the key\0');
    t.strictSame(seen, [ADDRESS.toString()]);
    const empty = await listen(t, (client) => client.end());
    t.equal((await askSocket(empty, ADDRESS, 8, never)).length, 0);
  },
);

t.test('an answer that is too long is given up', async (t) => {
  const path = await listen(t, (client) => client.write(Buffer.alloc(9)));
  await t.rejects(askSocket(path, ADDRESS, 8, never), {
    code: 'unavailable',
    message: `${path}: expected at most 8 bytes, got more`,
  });
});

t.test('nobody listens', async (t) => {
  const folder = shortFolder(t);
  writeFileSync(`${folder}/file`, '');
  const before = openDescriptors();
  for (const name of ['absent', 'file', 'n'.repeat(200)]) {
    const path = `${folder}/${name}`;
    await t.rejects(askSocket(path, ADDRESS, 8, never), { code: 'unavailable', message: new RegExp(path) });
  }
  t.equal(openDescriptors(), before);
});

t.test('a signal ends the waiting', async (t) => {
  const stop = new AbortController();
  const path = await listen(t, () => stop.abort());
  const stopped = { code: 'stopped', message: `${path}: stopped while waiting for an answer` };
  await t.rejects(askSocket(path, ADDRESS, 8, stop.signal), stopped);
  await t.rejects(askSocket(path, ADDRESS, 8, stop.signal), stopped, 'one that came before too');
});
