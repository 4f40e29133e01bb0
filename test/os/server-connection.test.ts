import { constants } from 'node:crypto';
import type { TLSSocket, TlsOptions } from 'node:tls';
import t, { type Test } from 'tap';
import type { TlsSettings } from '../../src/base/ports.ts';
import type { ServerConnection } from '../../src/base/server-connection.ts';
import { serverConnector } from '../../src/os/server-connection.ts';
import { createAuthority, daysFromNow, type Identity, renewed, selfSigned } from '../support/certificates.ts';
import { startHttps, text, until } from '../support/https.ts';
import { serveBytes, serveTls } from '../support/servers.ts';

const never = new AbortController().signal;
const ASK = { method: 'GET', path: '/', maxBodyBytes: 1024, timeoutMs: 10_000, signal: never };

async function connect(
  t: Test,
  port: number,
  tls: TlsSettings,
  { timeoutMs = 10_000, signal = never } = {},
): Promise<ServerConnection> {
  const url = new URL(`https://127.0.0.1:${port}`);
  const connection = await serverConnector.connect(url, tls, timeoutMs, signal);
  t.teardown(() => connection.close());
  return connection;
}

function shown({ certificate, key }: Identity): TlsSettings {
  return { clientCertificate: certificate, clientKey: key };
}

/** A server that notes every byte that came after its handshake, and answers nothing. */
async function recorder(t: Test, identity: Identity, options: TlsOptions = {}) {
  const seen = { bytes: 0, sockets: [] as TLSSocket[] };
  const tls = { cert: identity.certificate, key: identity.key, requestCert: true, rejectUnauthorized: false };
  const server = await serveTls(t, { ...tls, ...options }, (socket) => {
    seen.sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', (data) => {
      seen.bytes += data.length;
    });
  });
  return { ...server, seen };
}

t.test('many requests over one connection', async (t) => {
  const machine = selfSigned({});
  const { port, identity, listener } = await startHttps(t, async ({ method, contentType, body, peer }) => {
    const who = peer.kind === 'network' ? peer.pinSha256?.toString('hex') : '';
    return text(200, `${method} ${contentType} ${await body(100)} ${who}`);
  });
  const connection = await connect(t, port, { pinsSha256: [identity.pinSha256], ...shown(machine) });
  const who = machine.pinSha256.toString('hex');
  for (let round = 0; round < 3; round++) {
    const json = Buffer.from(`{"round":${round}}`);
    const { status, body } = await connection.request({ ...ASK, method: 'POST', json });
    t.same([status, body.toString()], [200, `POST application/json {"round":${round}} ${who}`]);
  }
  t.equal((await connection.request(ASK)).body.toString(), `GET   ${who}`);
  t.equal(listener.connections, 1);
  connection.close();
  await until(() => listener.connections === 0);
});

t.test('the right key, whatever its certificate says', async (t) => {
  const key = selfSigned({});
  for (const identity of [
    renewed(key, { from: daysFromNow(-20), until: daysFromNow(-10) }),
    renewed(key, { from: daysFromNow(10), until: daysFromNow(20) }),
    renewed(key, { names: ['other.example'] }),
  ]) {
    const { port } = await startHttps(t, undefined, { identity });
    const connection = await connect(t, port, { pinsSha256: [key.pinSha256] });
    t.equal((await connection.request(ASK)).status, 200);
  }
});

t.test('another key under the right name: refused, and no byte of a request has left', async (t) => {
  const authority = createAuthority('an authority');
  const impostor = await recorder(t, authority.issue({ names: ['127.0.0.1'] }));
  const { pinSha256 } = authority.issue({ names: ['127.0.0.1'] });
  await t.rejects(
    connect(t, impostor.port, {
      pinsSha256: [pinSha256],
      ca: authority.certificate,
      ...shown(selfSigned({})),
    }),
    {
      code: 'unavailable',
      message: /^https:\/\/127\.0\.0\.1:\d+: the server's key is not the pinned one: /,
    },
  );
  await impostor.allClosed();
  t.equal(impostor.seen.bytes, 0);
});

t.test('TLS 1.3 and nothing before it', async (t) => {
  const identity = selfSigned({});
  const old = await recorder(t, identity, { maxVersion: 'TLSv1.2' });
  await t.rejects(connect(t, old.port, { pinsSha256: [identity.pinSha256] }), {
    code: 'unavailable',
    message: /: TLS failed: /,
  });
  t.equal(old.seen.sockets.length, 0);
});

t.test('no session is used again, though the server offers them', async (t) => {
  const identity = selfSigned({});
  const server = await recorder(t, identity, { secureOptions: constants.SSL_OP_ALL });
  for (let round = 0; round < 3; round++) {
    const connection = await connect(t, server.port, { pinsSha256: [identity.pinSha256] });
    await until(() => server.seen.sockets.length === round + 1);
    connection.close();
  }
  t.notOk(server.seen.sockets.some((socket) => socket.isSessionReused()));
});

t.test('bounds of the connection', async (t) => {
  const silent = await serveBytes(t, (socket) => void socket.resume());
  const tls = { pinsSha256: [Buffer.alloc(32)] };
  await t.rejects(connect(t, silent.port, tls, { timeoutMs: 50 }), {
    code: 'unavailable',
    message: /: timed out after 50 ms$/,
  });
  await t.rejects(connect(t, silent.port, tls, { signal: AbortSignal.timeout(50) }), { code: 'stopped' });
  await t.rejects(connect(t, silent.port, tls, { signal: AbortSignal.abort() }), { code: 'stopped' });
  await silent.allClosed();
  await t.rejects(connect(t, 1, tls), { code: 'unavailable', message: /: connection refused$/ });
  const garbage = { ...tls, clientCertificate: Buffer.from('x'), clientKey: Buffer.from('x') };
  await t.rejects(connect(t, silent.port, garbage), { code: 'bad-config' });
});

t.test('a request that fails ends the connection', async (t) => {
  for (const [title, answer, fault] of [
    ['no answer', '', /: timed out after 50 ms$/],
    ['half an answer', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab', /: timed out after 50 ms$/],
    ['no HTTP', 'what?\r\n\r\n', /: the answer is not HTTP$/],
    [
      'too much',
      `HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n${'a'.repeat(2000)}`,
      /answered more than 1024/,
    ],
  ] as const) {
    const identity = selfSigned({});
    const server = await serveTls(t, { cert: identity.certificate, key: identity.key }, (socket) => {
      socket.on('data', () => socket.write(answer));
      socket.on('error', () => {});
    });
    const connection = await connect(t, server.port, { pinsSha256: [identity.pinSha256] });
    await t.rejects(
      connection.request({ ...ASK, timeoutMs: 50 }),
      { code: 'unavailable', message: fault },
      title,
    );
    await server.allClosed();
    await t.rejects(connection.request(ASK), { code: 'unavailable' }, `${title}: and then`);
  }
});

t.test('a server that goes away between two requests', async (t) => {
  const { port, identity, listener } = await startHttps(t);
  const connection = await connect(t, port, { pinsSha256: [identity.pinSha256] });
  t.equal((await connection.request(ASK)).status, 200);
  await listener.stop();
  await t.rejects(connection.request(ASK), { code: 'unavailable' });
});

/** Gives an event whenever the test says so. */
function eventServer(t: Test) {
  let wake = Promise.withResolvers<string | null>();
  const next = (event: string | null) => {
    const { resolve } = wake;
    wake = Promise.withResolvers();
    resolve(event);
  };
  const server = startHttps(t, async ({ signal }) => {
    signal.addEventListener('abort', () => next(null));
    async function* events() {
      for (let event = await wake.promise; event !== null; event = await wake.promise) yield event;
    }
    return { status: 200, headers: { 'content-type': 'text/event-stream' }, body: events(), close: false };
  });
  return { server, next };
}

t.test('a stream', async (t) => {
  const { server, next } = eventServer(t);
  const { port, identity, listener } = await server;
  const connection = await connect(t, port, { pinsSha256: [identity.pinSha256] });
  const { status, chunks } = await connection.stream('/v1/watch', 10_000, never);
  t.equal(status, 200);
  const reader = chunks[Symbol.asyncIterator]();
  for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
    next(event);
    t.equal((await reader.next()).value?.toString(), event);
  }
  next(null);
  t.ok((await reader.next()).done, 'ends with the server');
  connection.close();
  await until(() => listener.connections === 0);
});

t.test('a stream that ends otherwise', async (t) => {
  const { server, next } = eventServer(t);
  const { port, identity, listener } = await server;
  const tls = { pinsSha256: [identity.pinSha256] };
  const drain = async (chunks: AsyncIterable<Buffer>) => {
    for await (const _ of chunks);
  };
  const silent = await (await connect(t, port, tls)).stream('/', 50, never);
  await t.rejects(drain(silent.chunks), { code: 'unavailable', message: /nothing came for 50 ms/ });
  const stop = new AbortController();
  const stopped = await (await connect(t, port, tls)).stream('/', 10_000, stop.signal);
  stop.abort();
  await t.rejects(drain(stopped.chunks), { code: 'stopped' });
  const left = await (await connect(t, port, tls)).stream('/', 10_000, never);
  next('data: 1\n\n');
  for await (const _ of left.chunks) break;
  await until(() => listener.connections === 0);
});

t.test('a stream that is cut off', async (t) => {
  const identity = selfSigned({});
  const server = await serveTls(t, { cert: identity.certificate, key: identity.key }, (socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n');
      setTimeout(() => socket.destroy(), 20);
    });
  });
  const connection = await connect(t, server.port, { pinsSha256: [identity.pinSha256] });
  const { chunks } = await connection.stream('/', 10_000, never);
  const got: string[] = [];
  await t.rejects(
    (async () => {
      for await (const chunk of chunks) got.push(chunk.toString());
    })(),
    { code: 'unavailable' },
  );
  t.same(got, ['data: 1\n\n']);
  await server.allClosed();
});

t.test('a socket is handed on once', async (t) => {
  const { port, identity, listener } = await startHttps(t, async () => ({ ...text(200, ''), close: true }));
  const connection = await connect(t, port, { pinsSha256: [identity.pinSha256] });
  t.equal((await connection.request(ASK)).status, 200);
  await t.rejects(connection.request(ASK), { code: 'unavailable' }, 'the server has closed it');
  await until(() => listener.connections === 0);
});
