import { createServer } from 'node:net';
import { inspect } from 'node:util';
import t, { type Test } from 'tap';
import type { HttpRequest } from '../../src/base/ports.ts';
import { http } from '../../src/os/http.ts';
import { answer, serveBytes, serveHttp } from '../support/servers.ts';

function get(url: string, overrides: Partial<HttpRequest> = {}): HttpRequest {
  return {
    method: 'GET',
    url: new URL(url),
    maxBodyBytes: 1024,
    timeoutMs: 10_000,
    signal: new AbortController().signal,
    ...overrides,
  };
}

/** A server that writes these bytes to whoever connects, and then ends the connection unless told not to. */
function serveText(test: Test, text: string, end = true) {
  return serveBytes(test, (socket) => {
    socket.resume();
    socket.once('data', () => (end ? socket.end(text) : socket.write(text)));
  });
}

t.test('sends what it is given, and returns status and body', async (t) => {
  const seen: unknown[] = [];
  const server = await serveHttp(t, (request, response) => {
    const { method, url, headers } = request;
    request.setEncoding('utf8').on('data', (body) => {
      seen.push({ method, url, type: headers['content-type'], connection: headers.connection, body });
      answer(201, 'made')(request, response);
    });
  });
  const response = await http.request(
    get(`http://127.0.0.1:${server.port}/a/b?c=d`, {
      method: 'POST',
      headers: { 'content-type': 'text/x' },
      body: Buffer.from('hello'),
    }),
  );
  t.same({ ...response, body: response.body.toString() }, { status: 201, body: 'made' });
  t.same(seen, [{ method: 'POST', url: '/a/b?c=d', type: 'text/x', connection: 'close', body: 'hello' }]);
  await server.allClosed();
});

t.test('keeps every byte of a body that comes in pieces', async (t) => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  const server = await serveHttp(t, (_request, response) => {
    response.writeHead(200, { 'transfer-encoding': 'chunked' });
    for (const byte of bytes) response.write(Buffer.from([byte]));
    response.end();
  });
  const { body } = await http.request(get(`http://127.0.0.1:${server.port}/`));
  t.ok(body.equals(bytes));
});

t.test("statuses are the caller's to judge, and no redirect is followed", async (t) => {
  for (const status of [204, 301, 302, 307, 401, 404, 429, 500, 503]) {
    const asked: string[] = [];
    const server = await serveHttp(t, (request, response) => {
      asked.push(request.url ?? '');
      answer(status, '', { location: '/elsewhere' })(request, response);
    });
    t.equal((await http.request(get(`http://127.0.0.1:${server.port}/here`))).status, status);
    t.same(asked, ['/here'], `${status}`);
  }
});

t.test('informational answers are passed over', async (t) => {
  const server = await serveText(
    t,
    'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  );
  const { status, body } = await http.request(get(`http://127.0.0.1:${server.port}/`));
  t.same([status, body.toString()], [200, 'ok']);
});

t.test('a body may be exactly as long as allowed', async (t) => {
  const server = await serveHttp(t, answer(200, 'x'.repeat(1024)));
  t.equal((await http.request(get(`http://127.0.0.1:${server.port}/`))).body.length, 1024);
});

t.test('an answer that is too long is cut off while it is read', async (t) => {
  const chunk = Buffer.alloc(64 * 1024);
  let sent = 0;
  const server = await serveHttp(t, (_request, response) => {
    response.writeHead(200, { 'transfer-encoding': 'chunked' });
    const pour = () => {
      while (sent < 10 * 1024 * 1024 && !response.destroyed) {
        sent += chunk.length;
        if (!response.write(chunk)) return void response.once('drain', pour);
      }
    };
    pour();
  });
  await t.rejects(http.request(get(`http://127.0.0.1:${server.port}/`)), {
    code: 'unavailable',
    message: `http://127.0.0.1:${server.port}/: answered more than 1024 bytes`,
  });
  await server.allClosed();
  t.ok(sent < 10 * 1024 * 1024, `${sent} bytes were sent`);
});

t.test('faults of the connection are unavailable and say what happened', async (t) => {
  const free = createServer();
  const port = await new Promise<number>((resolve) =>
    free.listen(0, '127.0.0.1', () => resolve((free.address() as { port: number }).port)),
  );
  await new Promise((resolve) => free.close(resolve));
  await t.rejects(http.request(get(`http://127.0.0.1:${port}/x?token=hidden`)), {
    code: 'unavailable',
    message: `http://127.0.0.1:${port}/x: connection refused`,
  });
  await t.rejects(http.request(get('http://tang.invalid/')), {
    code: 'unavailable',
    message: /^http:\/\/tang\.invalid\/: name tang\.invalid does not resolve \(E/,
  });
  const resets = await serveBytes(t, (socket) => void socket.once('data', () => socket.resetAndDestroy()));
  await t.rejects(http.request(get(`http://127.0.0.1:${resets.port}/`)), {
    code: 'unavailable',
    message: /: connection reset$/,
  });
});

t.test('answers that are not complete HTTP are unavailable', async (t) => {
  const head = 'HTTP/1.1 200 OK\r\n';
  const cases: [string, string, RegExp][] = [
    ['nothing', '', /connection closed before the answer was complete$/],
    ['half a head', `${head}content-le`, /connection closed before the answer was complete$/],
    [
      'half a body',
      `${head}content-length: 10\r\n\r\nhalf`,
      /connection closed before the answer was complete$/,
    ],
    ['half a chunk', `${head}transfer-encoding: chunked\r\n\r\na\r\nhalf`, /connection closed before/],
    ['no length', `${head}\r\nperhaps all`, /the answer does not tell its length$/],
    ['no length, in disguise', `${head}transfer-encoding: gzip\r\n\r\nx`, /not tell its length$/],
    ['other protocol', 'SSH-2.0-OpenSSH_9.2\r\n', /the answer is not HTTP$/],
    ['endless head', `${head}x: ${'y'.repeat(100_000)}`, /the answer's headers are too long$/],
    [
      'an upgrade',
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
      /connection closed/,
    ],
  ];
  for (const [name, text, message] of cases) {
    const server = await serveText(t, text);
    await t.rejects(
      http.request(get(`http://127.0.0.1:${server.port}/`)),
      { code: 'unavailable', message },
      name,
    );
    await server.allClosed();
  }
});

t.test('the time is for the whole exchange', async (t) => {
  const silent = await serveBytes(t, (socket) => void socket.resume());
  const dribbling = await serveBytes(t, (socket) => {
    socket.resume();
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n');
    const dribble = setInterval(() => socket.write('.'), 20);
    socket.once('close', () => clearInterval(dribble));
  });
  const slowHead = await serveBytes(t, (socket) => {
    socket.resume();
    socket.write('HTTP/1.1 200 OK\r\nx: ');
    const dribble = setInterval(() => socket.write('.'), 20);
    socket.once('close', () => clearInterval(dribble));
  });
  const hinting = await serveBytes(t, (socket) => {
    socket.resume();
    const hint = setInterval(() => socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'), 20);
    socket.once('close', () => clearInterval(hint));
  });
  for (const server of [silent, dribbling, slowHead, hinting]) {
    await t.rejects(
      http.request(get(`http://127.0.0.1:${server.port}/`, { timeoutMs: 300, maxBodyBytes: 1_000_000 })),
      { code: 'unavailable', message: /: timed out after 300 ms$/ },
    );
    await server.allClosed();
  }
});

t.test('a handshake that never ends is cut off too', async (t) => {
  const server = await serveBytes(t, (socket) => void socket.resume());
  await t.rejects(http.request(get(`https://127.0.0.1:${server.port}/`, { timeoutMs: 300 })), {
    code: 'unavailable',
    message: /: timed out after 300 ms$/,
  });
  await server.allClosed();
});

t.test('stops when told to, and closes', async (t) => {
  const stop = new AbortController();
  const server = await serveBytes(t, (socket) => void socket.once('data', () => stop.abort()));
  await t.rejects(http.request(get(`http://127.0.0.1:${server.port}/`, { signal: stop.signal })), {
    code: 'stopped',
  });
  await server.allClosed();
  let connected = false;
  const other = await serveBytes(t, () => {
    connected = true;
  });
  await t.rejects(http.request(get(`http://127.0.0.1:${other.port}/`, { signal: stop.signal })), {
    code: 'stopped',
  });
  t.notOk(connected, 'nothing is sent for who has stopped already');
});

t.test('a name with more than one address, and one in brackets', async (t) => {
  const server = await serveHttp(t, answer(200, 'ok'));
  t.equal((await http.request(get(`http://localhost:${server.port}/`))).status, 200);
  const refused = await http.request(get(`http://[::1]:${server.port}/`)).catch((thrown) => thrown);
  t.equal(refused.code, 'unavailable');
  t.notMatch(refused.message, /does not resolve/, 'the address without its brackets is tried');
});

t.test("no error carries the answer's bytes", async (t) => {
  for (const text of [
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nsecret!!secret',
    'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsecret',
    `HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n${'secret'.repeat(200)}`,
    'secret',
  ]) {
    const server = await serveText(t, text);
    const fault = await http.request(get(`http://127.0.0.1:${server.port}/`)).catch((thrown) => thrown);
    t.equal(fault.code, 'unavailable');
    t.notMatch(inspect(fault, { depth: 10, showHidden: true }), /secret/);
  }
});

t.test('an encoded answer is not taken for the key', async (t) => {
  const server = await serveHttp(t, answer(200, 'xxxx', { 'content-encoding': 'gzip' }));
  await t.rejects(http.request(get(`http://127.0.0.1:${server.port}/`)), {
    code: 'unavailable',
    message: /answered with content encoding gzip$/,
  });
});
