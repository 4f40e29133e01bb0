import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { connectionOn } from '../../src/os/connection.ts';
import { connectFrom } from '../../src/os/libc.ts';

/** A connection of ours, and its other end, which reads nothing until it is told to. */
async function pair(t: Test) {
  const path = `/tmp/flk-connection-${process.pid}.sock`;
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }).listen(path);
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const fd = connectFrom(Buffer.from(`\0${Math.random()}/cryptsetup/data`), path);
  const [client] = await accepted;
  server.close();
  t.teardown(() => client.destroy());
  return { connection: connectionOn(fd, 'descriptor', Buffer.alloc(0)), client };
}

t.test('the client gets every byte, and then the end', async (t) => {
  const { connection, client } = await pair(t);
  client.end();
  const bytes = Buffer.alloc(1_000_000, 'key');
  const [received] = await Promise.all([client.toArray(), connection.send(bytes, 10_000)]);
  t.ok(Buffer.concat(received as Buffer[]).equals(bytes));
});

t.test('to shut the writing side is not to go away', async (t) => {
  const { connection, client } = await pair(t);
  t.equal(connection.isGone(), false);
  client.end();
  await once(client, 'finish');
  t.equal(connection.isGone(), false);
  client.destroy();
  await once(client, 'close');
  t.equal(connection.isGone(), true);
});

t.test(
  'a client that does not read, or goes, did not get the answer; and it gets no second one',
  async (t) => {
    const bytes = Buffer.alloc(1_000_000);
    const idle = await pair(t);
    await t.rejects(idle.connection.send(bytes, 50), {
      code: 'stopped',
      message: 'the client did not read for 0.05 s before the whole answer was written',
    });
    await t.rejects(idle.connection.send(bytes, 50), { code: 'stopped', message: /begun already/ });

    const gone = await pair(t);
    const sending = gone.connection.send(bytes, 10_000);
    gone.client.destroy();
    await t.rejects(sending, {
      code: 'stopped',
      message: 'the client went away before the whole answer was written',
    });
  },
);
