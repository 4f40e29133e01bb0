import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { selfSigned } from '../support/certificates.ts';
import { connectTls, GET, received, startHttps, text, until } from '../support/https.ts';

const HOST = 'Host: keys.example\r\n';
/** Short times for what is to run out, so that no test waits for the real ones. */
const SHORT = { timeCheckMs: 20 };
/** What is not closed at once stays open for longer than a test may take. */
const PATIENT = { handshakeMs: 600_000, headersMs: 600_000, requestMs: 600_000 };

async function closed(socket: Socket): Promise<void> {
  socket.on('error', () => {});
  socket.resume();
  if (!socket.closed) await once(socket, 'close');
}

async function tcp(t: Test, port: number, localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connectTcp({ host: '127.0.0.1', port, localAddress });
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

t.test('a handshake that does not begin, and one that does not go on', async (t) => {
  const { port, listener } = await startHttps(t, undefined, { limits: { ...SHORT, handshakeMs: 100 } });
  const silent = await tcp(t, port);
  const slow = await tcp(t, port);
  slow.write(Buffer.from([22, 3, 1]));
  await Promise.all([closed(silent), closed(slow)]);
  await until(() => listener.connections === 0);
});

t.test('a connection on which nothing is asked', async (t) => {
  const { port, calls } = await startHttps(t, undefined, { limits: { ...SHORT, headersMs: 100 } });
  t.match(await received(await connectTls(t, port, { identity: selfSigned({}) })), /^HTTP\/1\.1 400 |^$/);
  t.same(calls, []);
});

t.test('headers that come byte by byte', async (t) => {
  const { port, calls, reasons } = await startHttps(t, undefined, { limits: { ...SHORT, headersMs: 150 } });
  const socket = await connectTls(t, port);
  socket.write(`GET / HTTP/1.1\r\n${HOST}X: `);
  const drip = setInterval(() => socket.write('a'), 10);
  t.teardown(() => clearInterval(drip));
  t.match(await received(socket), /^HTTP\/1\.1 400 .*connection: close.*refused$/s);
  t.same(calls, []);
  t.same(reasons, ['ERR_HTTP_REQUEST_TIMEOUT']);
});

t.test('a body that comes byte by byte', async (t) => {
  const { port } = await startHttps(t, async (call) => text(200, String((await call.body(1024)).length)), {
    limits: { ...SHORT, headersMs: 100, requestMs: 150 },
  });
  const socket = await connectTls(t, port);
  socket.write(`POST / HTTP/1.1\r\n${HOST}Content-Length: 1000\r\n\r\n`);
  const drip = setInterval(() => socket.write('a'), 10);
  t.teardown(() => clearInterval(drip));
  t.match(await received(socket), /^HTTP\/1\.1 400 .*connection: close.*refused$/s);
});

t.test('a connection that is kept too long', async (t) => {
  const { port, calls } = await startHttps(t, undefined, { limits: { ...SHORT, idleMs: 100 } });
  const socket = await connectTls(t, port);
  socket.write(`GET / HTTP/1.1\r\n${HOST}\r\n`);
  t.match(await received(socket), /^HTTP\/1\.1 200 OK/);
  t.same(calls, ['GET /']);
});

t.test('so many connections, and the next one is closed before it costs a handshake', async (t) => {
  const { port, listener, lines } = await startHttps(t, undefined, {
    limits: { ...PATIENT, connections: 3 },
  });
  const sockets = [await tcp(t, port), await connectTls(t, port), await connectTls(t, port)];
  for (let count = 0; count < 3; count++) await closed(await tcp(t, port));
  t.equal(listener.connections, 3);
  t.same(lines, ['all addresses: 3 connections, those beyond are closed'], 'told once');
  // Room again.
  for (const socket of sockets) socket.destroy();
  await until(() => listener.connections === 0);
  const next = await connectTls(t, port);
  next.write(GET);
  t.match(await received(next), /200 OK/);
});

t.test('so many connections of one address, and others still get in', async (t) => {
  const { port, listener } = await startHttps(t, undefined, {
    limits: { ...PATIENT, connectionsPerAddress: 2 },
  });
  for (let count = 0; count < 2; count++) await connectTls(t, port, { localAddress: '127.0.0.2' });
  await closed(await tcp(t, port, '127.0.0.2'));
  const other = await connectTls(t, port, { localAddress: '127.0.0.3' });
  other.write(GET);
  t.match(await received(other), /200 OK/);
  await until(() => listener.connections === 2);
});

t.test('whom the service does not admit', async (t) => {
  const asked: string[] = [];
  const { port, calls } = await startHttps(t, undefined, {
    admits: (address) => asked.push(address) > 1,
  });
  await closed(await tcp(t, port));
  const socket = await connectTls(t, port);
  socket.write(GET);
  t.match(await received(socket), /200 OK/);
  t.same(asked, ['127.0.0.1', '127.0.0.1']);
  t.equal(calls.length, 1);
});

t.test('a watcher that does not read is cut off', async (t) => {
  const ended = Promise.withResolvers<void>();
  const { port } = await startHttps(t, async ({ signal }) => {
    async function* flood() {
      try {
        for (;;) {
          if (signal.aborted) return;
          yield 'x'.repeat(1000);
          await new Promise(setImmediate);
        }
      } finally {
        ended.resolve();
      }
    }
    return { status: 200, headers: {}, body: flood(), close: false };
  });
  const socket = await connectTls(t, port);
  socket.write(GET);
  socket.pause();
  await ended.promise;
});
