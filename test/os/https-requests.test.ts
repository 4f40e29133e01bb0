import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { HttpCall } from '../../src/base/http-service.ts';
import { selfSigned } from '../support/certificates.ts';
import { connectTls, GET, pinOf, received, startHttps, text } from '../support/https.ts';

const HOST = 'Host: keys.example\r\n';
/** A request that must never be seen as one. */
const SMUGGLED = `GET /smuggled HTTP/1.1\r\n${HOST}\r\n`;

/** Reads each body whole, as a route with one does. */
async function reading(call: HttpCall) {
  const body = await call.body(1024);
  return text(200, `${body.length} bytes`);
}

async function sent(t: Test, port: number, bytes: string): Promise<string> {
  const socket = await connectTls(t, port);
  socket.write(Buffer.from(bytes, 'latin1'));
  return received(socket);
}

const unclear: [title: string, request: string][] = [
  [
    'both lengths',
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  ],
  [
    'both lengths, the other way round',
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  ],
  ['two lengths', `POST / HTTP/1.1\r\n${HOST}Content-Length: 0\r\nContent-Length: 5\r\n\r\n${SMUGGLED}`],
  ['one length twice', `POST / HTTP/1.1\r\n${HOST}Content-Length: 0\r\nContent-Length: 0\r\n\r\n${SMUGGLED}`],
  ['two lengths in one', `POST / HTTP/1.1\r\n${HOST}Content-Length: 0, 0\r\n\r\n${SMUGGLED}`],
  ['a length with a sign', `POST / HTTP/1.1\r\n${HOST}Content-Length: +0\r\n\r\n${SMUGGLED}`],
  ['a negative length', `POST / HTTP/1.1\r\n${HOST}Content-Length: -1\r\n\r\n${SMUGGLED}`],
  ['a length in hex', `POST / HTTP/1.1\r\n${HOST}Content-Length: 0x0\r\n\r\n${SMUGGLED}`],
  [
    'another coding before chunked',
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  ],
  [
    'another coding after chunked',
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  ],
  [
    'two codings',
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  ],
  ['an unknown coding', `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: xchunked\r\n\r\n${SMUGGLED}`],
  [
    'a chunk that is longer than its size',
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n${SMUGGLED}`,
  ],
  [
    "a chunk's size with rubbish",
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n${SMUGGLED}`,
  ],
  ['a folded line', `GET / HTTP/1.1\r\n${HOST}X: a\r\n Transfer-Encoding: chunked\r\n\r\n${SMUGGLED}`],
  ['white space before the colon', `POST / HTTP/1.1\r\n${HOST}Content-Length : 0\r\n\r\n${SMUGGLED}`],
  ['bare line feeds', `POST / HTTP/1.1\n${HOST}Content-Length: 0\n\n${SMUGGLED}`],
  ['a bare carriage return', `GET / HTTP/1.1\r\n${HOST}X: a\rY: b\r\n\r\n${SMUGGLED}`],
  ['a NUL in a header', `GET / HTTP/1.1\r\n${HOST}X: a\0b\r\n\r\n${SMUGGLED}`],
  ['two hosts', `GET / HTTP/1.1\r\n${HOST}Host: other.example\r\n\r\n${SMUGGLED}`],
  ['one host twice', `GET / HTTP/1.1\r\n${HOST}${HOST}\r\n${SMUGGLED}`],
  ['no host', `GET / HTTP/1.1\r\n\r\n${SMUGGLED}`],
  ['HTTP/1.0', `GET / HTTP/1.0\r\n${HOST}Connection: keep-alive\r\n\r\n${SMUGGLED}`],
  ['HTTP/2 in clear', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['no version', 'GET /\r\n\r\n'],
  ['headers of more than 4 KiB', `GET / HTTP/1.1\r\n${HOST}X: ${'a'.repeat(5000)}\r\n\r\n${SMUGGLED}`],
  ['a target of more than 4 KiB', `GET /${'a'.repeat(5000)} HTTP/1.1\r\n${HOST}\r\n${SMUGGLED}`],
  ['another expectation', `POST / HTTP/1.1\r\n${HOST}Expect: a-miracle\r\nContent-Length: 2\r\n\r\n{}`],
  ['rubbish', '\x16\x03\x01\x02\0\x01\0\r\n\r\n'],
];

t.test('what could be read in two ways is no request, and ends the connection', async (t) => {
  for (const [title, request] of unclear) {
    const { port, calls } = await startHttps(t, reading);
    const answer = await sent(t, port, request);
    t.match(answer, /^HTTP\/1\.1 4\d\d .*connection: close/is, title);
    t.notMatch(answer, /HTTP\/1\.1.*HTTP\/1\.1/s, `${title}: one answer`);
    t.notOk(calls.includes('GET /smuggled'), `${title}: nothing after it is heard`, { calls });
  }
});

t.test('clear ones are taken', async (t) => {
  const { port, calls } = await startHttps(t, reading);
  const chunked = `POST /a HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n0\r\n\r\n`;
  t.match(await sent(t, port, chunked), /^HTTP\/1\.1 200 OK.*2 bytes/s);
  const expecting = `POST /b HTTP/1.1\r\n${HOST}Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab`;
  t.match(await sent(t, port, expecting), /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK.*2 bytes/s);
  t.same(calls, ['POST /a', 'POST /b']);
});

t.test('a target reaches the service as it stands', async (t) => {
  const { port, calls } = await startHttps(t);
  const targets = ['/v1/%2e%2e/x?y#z', 'https://other.example/v1/keys', '*', '//x'];
  for (const target of targets)
    await sent(t, port, `OPTIONS ${target} HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
  t.same(
    calls,
    targets.map((target) => `OPTIONS ${target}`),
  );
});

t.test('no tunnel, no other protocol', async (t) => {
  const { port, calls } = await startHttps(t);
  t.equal(await sent(t, port, `CONNECT other.example:443 HTTP/1.1\r\n${HOST}\r\n`), '');
  const upgrade = `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n`;
  t.match(await sent(t, port, upgrade), /^HTTP\/1\.1 200 OK/);
  t.same(calls, ['GET /']);
});

t.test('a body may be as long as the service says', async (t) => {
  const { port } = await startHttps(t, (call) =>
    reading(call).catch((fault) => ({ ...text(400, fault.message), close: true })),
  );
  const post = (length: number, body: string) =>
    sent(t, port, `POST / HTTP/1.1\r\n${HOST}Connection: close\r\nContent-Length: ${length}\r\n\r\n${body}`);
  t.match(await post(1024, 'a'.repeat(1024)), /200 OK.*1024 bytes/s);
  t.match(await post(1025, 'a'.repeat(1025)), /400 .*a body of more than 1024 bytes/s);
  // The rest of it is not waited for.
  t.match(await post(2 ** 40, 'a'.repeat(20_000)), /400 .*a body of more than 1024 bytes/s);
});

t.test('what is left of a body is not the next request', async (t) => {
  const { port, calls } = await startHttps(t);
  const answer = await sent(t, port, `POST / HTTP/1.1\r\n${HOST}Content-Length: 10000\r\n\r\n${SMUGGLED}`);
  t.match(answer, /^HTTP\/1\.1 200 OK.*connection: close/is);
  t.same(calls, ['POST /']);
});

t.test('one request at a time', async (t) => {
  const hold = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const { port, calls } = await startHttps(t, async () => {
    begun.resolve();
    await hold.promise;
    return text(200, 'done');
  });
  const socket = await connectTls(t, port);
  const answer = received(socket);
  socket.write(`GET /a HTTP/1.1\r\n${HOST}\r\n${SMUGGLED.repeat(1000)}`);
  await begun.promise;
  hold.resolve();
  t.match(await answer, /^HTTP\/1\.1 200 OK.*connection: close.*done$/is);
  t.same(calls, ['GET /a'], 'what came before its answer is not heard');
});

t.test('many requests on one connection, one after the other', async (t) => {
  const machine = selfSigned({});
  const { port, calls, listener } = await startHttps(t);
  const socket = await connectTls(t, port, { identity: machine });
  for (let round = 0; round < 3; round++) {
    socket.write(`GET /${round} HTTP/1.1\r\n${HOST}\r\n`);
    const [answer] = await once(socket, 'data');
    t.match(answer.toString(), machine.pinSha256.toString('hex'));
  }
  t.same(calls, ['GET /0', 'GET /1', 'GET /2']);
  t.equal(listener.connections, 1);
});

t.test('from another process, each as soon as it has the answer before', async (t) => {
  const { port } = await startHttps(t, async (call) => {
    await pause(1);
    return await reading(call);
  });
  const client = resolve(import.meta.dirname, '../support/hasty-client.ts');
  const child = spawn(process.execPath, ['--no-warnings', client, `${port}`, '8', '500'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.strictSame(JSON.parse(await readAll(child.stdout)), Array(8).fill(500));
});

t.test('a service hears that its client has gone', async (t) => {
  const begun = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  const { port } = await startHttps(t, async ({ signal }) => {
    signal.addEventListener('abort', () => gone.resolve());
    begun.resolve();
    await gone.promise;
    return text(200, '');
  });
  const socket = await connectTls(t, port);
  socket.write(GET);
  await begun.promise;
  socket.destroy();
  await gone.promise;
});

t.test('a defect in a service ends the connection and nothing else', async (t) => {
  let calls = 0;
  const { port } = await startHttps(t, async (call) => {
    if (calls++ === 0) throw new Error('a defect');
    return text(200, pinOf(call));
  });
  t.equal(await sent(t, port, GET), '');
  t.match(await sent(t, port, GET), /200 OK/);
});
