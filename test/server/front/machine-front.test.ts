import { hash, randomBytes } from 'node:crypto';
import t, { type Test } from 'tap';
import * as v from 'valibot';
import type { ServerConnection } from '../../../src/base/server-connection.ts';
import { serverLimits } from '../../../src/base/server-limits.ts';
import { generateEphemeral } from '../../../src/exchange/agreement.ts';
import { curves } from '../../../src/exchange/curve.ts';
import { parseEcKey, toJwk } from '../../../src/exchange/jwk.ts';
import { startRecovery } from '../../../src/exchange/recovery.ts';
import { clock } from '../../../src/os/clock.ts';
import { serveHttps } from '../../../src/os/https-server.ts';
import { serverConnector } from '../../../src/os/server-connection.ts';
import { routes } from '../../../src/server/api/routes.ts';
import { machineFront } from '../../../src/server/front/machine-front.ts';
import { ratesOf } from '../../../src/server/front/rates.ts';
import { ask } from '../../../src/wire/ask.ts';
import { eventData } from '../../../src/wire/event-stream.ts';
import * as wire from '../../../src/wire/machine.ts';
import { type Identity, renewed, selfSigned } from '../../support/certificates.ts';
import { until } from '../../support/https.ts';
import { startApp } from '../api/machines.ts';
import { sqlitePlace } from '../store/backends.ts';

const signal = new AbortController().signal;
const wrong = (reason: string) => new Error(reason) as never;

/** The whole server but its command line: store, rules, front, TLS. */
async function start(t: Test, options: Partial<Parameters<typeof machineFront>[0]> = {}) {
  const server = await startApp(t, sqlitePlace(t));
  const lines: string[] = [];
  const note = (line: string) => void lines.push(line);
  const log = { info: note, warning: note, error: note };
  const front = machineFront({ app: server.app, log, clock, ...options });
  const { certificate, key, pinSha256 } = selfSigned({});
  const place = { host: '127.0.0.1', port: 0 };
  const listener = await serveHttps({ certificate, key, asksForKey: true, place }, front);
  t.teardown(() => listener.stop());
  const url = new URL(`https://127.0.0.1:${listener.port}`);
  return {
    ...server,
    lines,
    listener,
    async connect(identity?: Identity): Promise<ServerConnection> {
      const own =
        identity === undefined ? {} : { clientCertificate: identity.certificate, clientKey: identity.key };
      const connection = await serverConnector.connect(
        url,
        { pinsSha256: [pinSha256], ...own },
        10_000,
        signal,
      );
      t.teardown(() => connection.close());
      return connection;
    },
    /** A machine that has joined. */
    async join(name: string): Promise<Identity> {
      const identity = selfSigned({});
      const connection = await this.connect(identity);
      const invited = { command: 'invite', name, policy: {}, rejoin: false } as const;
      const { invitation } = await server.operate<'invite'>(invited);
      t.same(await post(connection, '/v1/join', { invitation }, wire.join.response), {
        refusal: null,
        value: { name, status: 'armed', chain: [] },
      });
      connection.close();
      return identity;
    },
  };
}

function post<T>(
  connection: ServerConnection,
  path: string,
  body: unknown,
  response: v.GenericSchema<unknown, T>,
) {
  return ask(connection, { method: 'POST', path, body, response, timeoutMs: 10_000, signal });
}

const BOOT = '0a';

async function makeKey(connection: ServerConnection, proof = randomBytes(32)) {
  const alive = hash('sha256', proof, 'base64url');
  const made = await post(
    connection,
    '/v1/keys',
    { crv: 'P-256', alive, boot: BOOT },
    wire.createKey.response,
  );
  if (made.refusal !== null) throw new Error(made.refusal);
  return { ...made.value, proof };
}

/** Raw: what a client of another make might send. */
async function raw(
  connection: ServerConnection,
  path: string,
  json?: string | Buffer,
  method = json === undefined ? 'GET' : 'POST',
): Promise<{ status: number; body: Record<string, unknown> }> {
  const sent = json === undefined ? {} : { json: Buffer.from(json) };
  const bounds = { maxBodyBytes: 100_000, timeoutMs: 10_000, signal };
  const { status, body } = await connection.request({ method, path, ...sent, ...bounds });
  return { status, body: JSON.parse(body.toString()) };
}

t.test('a machine over TLS: join, key, exchange, keep-alive, on one connection', async (t) => {
  const server = await start(t);
  const machine = await server.join('nas');
  const connection = await server.connect(machine);
  const { kid, key, proof } = await makeKey(connection);
  const ephemeral = generateEphemeral(curves['P-256']);
  const serverKey = parseEcKey(key, wrong);
  const recovery = startRecovery(ephemeral.point, serverKey);
  const asked = { point: toJwk(recovery.blinded), boot: BOOT };
  const answer = await post(connection, `/v1/keys/${kid}/recover`, asked, wire.recover.response);
  if (answer.refusal !== null) throw new Error(answer.refusal);
  const found = await recovery.unblind(parseEcKey(answer.value.point, wrong));
  using expected = await ephemeral.agree(serverKey);
  t.ok(found.some((one) => one.reveal().equals(expected.reveal())));
  const alive = { boot: BOOT, proof: { kid, proof: proof.toString('base64url') } };
  t.match(await post(connection, '/v1/keepalive', alive, wire.keepalive.response), {
    refusal: null,
    value: { 'lease-left-ms': 900_000 },
  });
  t.equal(server.listener.connections, 1);
});

t.test('a renewed certificate is the same machine, another key under its name is not', async (t) => {
  const server = await start(t);
  const machine = await server.join('nas');
  const { kid } = await makeKey(await server.connect(machine));
  const get = async (identity: Identity) =>
    (await raw(await server.connect(identity), `/v1/keys/${kid}`)).status;
  t.equal(await get(renewed(machine, {})), 200);
  t.equal(await get(selfSigned({})), 404);
});

/** For each route with a body, one that is in its form. */
const bodies: Readonly<Record<string, object>> = {
  '/v1/join': { invitation: 'A'.repeat(43) },
  '/v1/keys': { crv: 'P-256', alive: 'A'.repeat(43), boot: BOOT },
  '/v1/keys/{kid}/recover': { point: toJwk(generateEphemeral(curves['P-256']).point), boot: BOOT },
  '/v1/keepalive': { boot: BOOT },
  '/v1/expect': { boot: BOOT, proof: { kid: 'A'.repeat(43), proof: 'A'.repeat(43) }, 'within-ms': 1 },
  '/v1/audit/digests': { after: 0 },
  '/v1/alerts': { kind: 'acted', text: '' },
};

t.test('a stranger is told the same, whatever he asks for', async (t) => {
  const server = await start(t);
  const machine = await server.join('nas');
  const other = await server.join('other');
  const { kid } = await makeKey(await server.connect(machine));
  const strangers = [undefined, selfSigned({})];
  const told = new Set<string>();
  const asks = async (identity: Identity | undefined, method: string, path: string, json?: string) => {
    const { status, body } = await raw(await server.connect(identity), path, json, method);
    t.match(body['request-id'], /^[0-9a-f]{16}$/, `${method} ${path}`);
    told.add(JSON.stringify([status, { ...body, 'request-id': '' }]));
  };
  for (const { method, path, principal, request } of routes) {
    if (principal === 'none') continue;
    const json = request === null ? undefined : JSON.stringify(bodies[path]);
    for (const identity of principal === 'newcomer' ? [selfSigned({})] : strangers) {
      for (const id of path.includes('{kid}') ? [kid, 'A'.repeat(43)] : [''])
        await asks(identity, method, path.replace('{kid}', id), json);
    }
  }
  for (const identity of strangers) {
    await asks(identity, 'POST', '/v1/operator', '{"command":"list","after":""}');
    for (const path of ['/nowhere', '/']) await asks(identity, 'GET', path);
  }
  // And a friend who asks for what is another's.
  const friend = await raw(await server.connect(other), `/v1/keys/${kid}`);
  told.add(JSON.stringify([friend.status, { ...friend.body, 'request-id': '' }]));
  t.same([...told], ['[404,{"code":"unknown","message":"not known here","request-id":""}]']);
  // That of the machine that made the key: it alone was granted something.
  await until(() => server.listener.connections === 1);
});

t.test('what anybody may ask is no machine’s business', async (t) => {
  const server = await start(t);
  const open = routes.filter(({ principal }) => principal === 'none').map(({ path }) => path);
  t.same(open, ['/v1/identity']);
  const { status, body } = await raw(await server.connect(), '/v1/identity');
  t.same({ status, body }, { status: 200, body: { chain: [] } });
  const joining = await raw(await server.connect(), '/v1/join', JSON.stringify(bodies['/v1/join']));
  t.match(joining, { status: 400, body: { code: 'bad-request' } }, 'who shows no key has none to join with');
});

t.test('why is in the log alone, in one line, under the same id', async (t) => {
  const server = await start(t);
  const machine = await server.join('nas');
  await server.operate({ command: 'lock', name: 'nas' });
  server.lines.length = 0;
  const { status, body } = await raw(
    await server.connect(machine),
    '/v1/keepalive',
    JSON.stringify({ boot: BOOT }),
  );
  t.match({ status, body }, { status: 403, body: { code: 'locked', message: 'not now' } });
  t.same(server.lines, [`127.0.0.1 POST /v1/keepalive: locked: nas: locked [${body['request-id']}]`]);
  server.lines.length = 0;
  const nasty = await raw(await server.connect(machine), '/v1/keepalive', '{"boot":"\\u001b[2J\\n<0>x"}');
  t.equal(nasty.body.code, 'bad-request');
  t.equal(server.lines.length, 1);
  t.match(server.lines[0], /^[ -~]+$/);
  server.lines.length = 0;
  await raw(await server.connect(machine), `/${'a'.repeat(3000)}`);
  t.ok((server.lines[0]?.length ?? 0) < 1000);
});

t.test('what is no request of this protocol', async (t) => {
  const server = await start(t);
  const machine = await server.join('nas');
  const connection = () => server.connect(machine);
  const cases: [title: string, json: string | Buffer][] = [
    ['nothing', ''],
    ['not JSON', '{'],
    ['JSON and more', '{"boot":"0a"}{}'],
    ['not UTF-8', Buffer.from([0x22, 0xff, 0x22])],
    ['a byte order mark and nothing', '\ufeff'],
    ['an array', '[]'],
    ['null', 'null'],
    ['another type', '{"boot":1}'],
    ['a field too many', '{"boot":"0a","x":1}'],
    ['a prototype', '{"boot":"0a","__proto__":{"proof":{}}, "x":1}'],
    ['deep', `${'['.repeat(30_000)}${']'.repeat(30_000)}`],
    ['deep within', `{"boot":${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}}`],
    ['a huge number', '{"boot":1e999}'],
    ['long', `{"boot":"${'a'.repeat(70_000)}"}`],
  ];
  for (const [title, json] of cases) {
    const { status, body } = await raw(await connection(), '/v1/keepalive', json);
    t.match(
      { status, body },
      { status: 400, body: { code: 'bad-request', message: 'not understood' } },
      title,
    );
  }
  const claim = Buffer.from('{"kind":"acted","text":"\xff"}', 'latin1');
  t.equal((await raw(await connection(), '/v1/alerts', claim)).status, 400, 'text that is not UTF-8');
  const withBody = await raw(await connection(), '/v1/watch', '{}', 'GET').catch((thrown) => thrown);
  t.match(withBody.body ?? withBody, { code: /bad-request|unavailable/ }, 'a GET with a body');
  const { status } = await raw(await connection(), '/v1/keepalive', JSON.stringify({ boot: BOOT }));
  t.equal(status, 200, 'and the server goes on');
});

t.test('JSON that is not called JSON', async (t) => {
  const front = machineFront({ app: (await startApp(t, sqlitePlace(t))).app, log: silent, clock });
  for (const [contentType, code] of [
    ['application/json', 'unknown'],
    ['application/json; charset=utf-8', 'unknown'],
    ['', 'bad-request'],
    ['text/plain', 'bad-request'],
    ['application/x-www-form-urlencoded', 'bad-request'],
    ['application/json; charset=utf-16', 'bad-request'],
    ['application/jsonx', 'bad-request'],
  ]) {
    const peer = { kind: 'network', address: '192.0.2.1', pinSha256: null } as const;
    const body = async () => Buffer.from('{"boot":"0a"}');
    const call = {
      method: 'POST',
      target: '/v1/keepalive',
      contentType: contentType ?? '',
      peer,
      signal,
      body,
    };
    const reply = await front.answer(call);
    t.equal(JSON.parse(String(reply.body)).code, code, contentType ?? '');
    t.ok(reply.close);
  }
});

const silent = { info() {}, warning() {}, error() {} };

t.test('a machine that watches hears of each change', async (t) => {
  const server = await start(t);
  const machine = await server.join('nas');
  const { status, chunks } = await (await server.connect(machine)).stream('/v1/watch', 60_000, signal);
  t.equal(status, 200);
  const events = eventData(chunks);
  const next = async () => {
    const { value, done } = await events.next();
    return done ? 'end' : v.parse(wire.watchEvent, JSON.parse(value)).status;
  };
  t.equal(await next(), 'armed');
  await server.operate({ command: 'lock', name: 'nas' });
  t.equal(await next(), 'locked');
  await server.operate({ command: 'revoke', name: 'nas' });
  t.equal(await next(), 'revoked');
  t.equal(await next(), 'end');
});

t.test('too many requests: refused, and told once', async (t) => {
  const rates = ratesOf({
    handshakes: { perSecond: 0, burst: 100 },
    fromAddress: { perSecond: 0, burst: 100 },
    ofMachine: { perSecond: 0, burst: 5 },
  });
  const server = await start(t, { rates });
  const machine = await server.join('nas');
  const codes: unknown[] = [];
  for (let round = 0; round < 8; round++) {
    const answer = await raw(await server.connect(machine), '/v1/keepalive', JSON.stringify({ boot: BOOT }));
    codes.push([answer.status, answer.body.code]);
  }
  t.same(codes.slice(0, 4), Array(4).fill([200, undefined]));
  t.same(codes.slice(4), Array(4).fill([429, 'too-many']));
  const [line, ...more] = server.lines.filter((one) => one.includes('too-many'));
  t.match(line, /^127\.0\.0\.1: too-many: too many requests of sha256\/[\w-]{43} \[[0-9a-f]{16}\]$/);
  t.same(more, []);
});

t.test('a stranger does not fill the log', async (t) => {
  const plenty = { perSecond: 1e6, burst: 1e6 };
  const rates = ratesOf({ handshakes: plenty, fromAddress: plenty, ofMachine: plenty });
  const { app } = await startApp(t, sqlitePlace(t));
  const lines: string[] = [];
  const note = (line: string) => void lines.push(line);
  const log = { info: note, warning: note, error: note };
  // A clock that stands still: nothing is given back.
  const still = { nowMs: () => 0, sleep: clock.sleep };
  const front = machineFront({ app, log, clock: still, rates });
  const ask = async (address: string) => {
    const peer = { kind: 'network', address, pinSha256: randomBytes(32) } as const;
    const call = { method: 'GET', target: '/v1/watch', contentType: '', peer, signal };
    return (await front.answer({ ...call, body: async () => Buffer.alloc(0) })).status;
  };
  for (let count = 0; count < 200; count++) t.equal(await ask('192.0.2.1'), 404);
  t.equal(lines.length, serverLimits.strangerLineBurst + 1);
  t.match(lines.at(-1), /^192\.0\.2\.1 GET \/v1\/watch: unknown: .*; and more of that, which is not told$/);
  for (let count = 0; count < 600; count++) await ask(`198.51.100.${count % 256}`);
  t.equal(lines.length, serverLimits.strangerLineBurstOfAll + 2, 'nor do many');
  t.equal(app.counters.refusals.unknown, 800, 'all are counted');
});

t.test('too many connections: closed before a handshake, and told once', async (t) => {
  const rates = ratesOf({
    handshakes: { perSecond: 0, burst: 2 },
    fromAddress: { perSecond: 0, burst: 100 },
    ofMachine: { perSecond: 0, burst: 100 },
  });
  const server = await start(t, { rates });
  for (let count = 0; count < 2; count++) await server.connect();
  for (let count = 0; count < 3; count++) await t.rejects(server.connect(), { code: 'unavailable' });
  t.same(server.lines, ['127.0.0.1: too many connections, those beyond are closed']);
});

t.test('a server that does not come to an answer says so', async (t) => {
  const app = { ...(await startApp(t, sqlitePlace(t))).app };
  const store = Object.create(app.store, { transaction: { value: () => new Promise(() => {}) } });
  const lines: string[] = [];
  const note = (line: string) => void lines.push(line);
  const front = machineFront({
    app: { ...app, store },
    log: { info: note, warning: note, error: note },
    clock: { ...clock, sleep: (_ms, stop) => clock.sleep(20, stop) },
  });
  const peer = { kind: 'network', address: '192.0.2.1', pinSha256: randomBytes(32) } as const;
  const body = async () => Buffer.from('{"boot":"0a"}');
  const call = {
    method: 'POST',
    target: '/v1/keepalive',
    contentType: 'application/json',
    peer,
    signal,
    body,
  };
  const reply = await front.answer(call);
  t.match(JSON.parse(String(reply.body)), { code: 'unavailable', message: 'not available now' });
  t.equal(lines.length, 1);
  t.match(lines, [/^192\.0\.2\.1: unavailable: no answer within 15000 ms \[[0-9a-f]{16}\]$/]);
});

t.test('who has opened a local socket is no machine', async (t) => {
  const front = machineFront({ app: (await startApp(t, sqlitePlace(t))).app, log: silent, clock });
  const peer = { kind: 'local', uid: 0 } as const;
  const call = {
    method: 'GET',
    target: '/v1/watch',
    contentType: '',
    peer,
    signal,
    body: async () => Buffer.alloc(0),
  };
  t.equal((await front.answer(call)).status, 404);
});
