import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import { connectTls, GET, received, startHttps, text, until } from '../support/https.ts';

const KEPT = 'GET / HTTP/1.1\r\nHost: keys.example\r\n\r\n';

t.test('what is in flight is finished, and nothing new begins', async (t) => {
  const begun = Promise.withResolvers<void>();
  const hold = Promise.withResolvers<void>();
  const { port, listener, calls } = await startHttps(t, async ({ target }) => {
    if (target !== '/') return text(200, 'short');
    begun.resolve();
    await hold.promise;
    return text(200, 'long');
  });
  const idle = await connectTls(t, port);
  idle.write('GET /idle HTTP/1.1\r\nHost: keys.example\r\n\r\n');
  await once(idle, 'data');
  const handshaking = connect(port, '127.0.0.1');
  await once(handshaking, 'connect');
  const working = await connectTls(t, port);
  working.write(KEPT);
  await begun.promise;
  const stopped = listener.stop();
  const refused = connect(port, '127.0.0.1');
  t.match((await once(refused, 'error'))[0], { code: 'ECONNREFUSED' });
  if (!idle.closed) await once(idle, 'close');
  const answer = received(working);
  hold.resolve();
  t.match(await answer, /^HTTP\/1\.1 200 OK.*connection: close.*long$/is);
  await stopped;
  if (!handshaking.closed) await once(handshaking.resume(), 'close');
  t.same(calls, ['GET /idle', 'GET /']);
  await until(() => listener.connections === 0);
});

t.test('streams end', async (t) => {
  const { port, listener } = await startHttps(t, async ({ signal }) => {
    async function* events() {
      yield 'data: 1\n\n';
      await new Promise((done) => signal.addEventListener('abort', done));
    }
    return { status: 200, headers: {}, body: events(), close: false };
  });
  const socket = await connectTls(t, port);
  socket.write(GET);
  const [first] = await once(socket, 'data');
  t.match(first.toString(), /^HTTP\/1\.1 200 OK/);
  const rest = received(socket);
  await listener.stop();
  t.match(await rest, /\r\n0\r\n\r\n$/, 'whole, by its last chunk');
});

t.test('a stop of a server that has nothing to do', async (t) => {
  const { listener, port } = await startHttps(t);
  await connectTls(t, port);
  await listener.stop();
  await until(() => listener.connections === 0);
});
