import { writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { generateEphemeral } from '../../../src/exchange/agreement.ts';
import { curves } from '../../../src/exchange/curve.ts';
import { thumbprint, toJwk } from '../../../src/exchange/jwk.ts';
import { clock } from '../../../src/os/clock.ts';
import { serveHttps } from '../../../src/os/https-server.ts';
import { type Rates, ratesOf } from '../../../src/server/front/rates.ts';
import { tangFront } from '../../../src/server/front/tang-front.ts';
import type { OperatorRequest } from '../../../src/wire/operator.ts';
import { clevisHost } from '../../support/clevis.ts';
import { startApp } from '../api/machines.ts';
import { sqlitePlace } from '../store/backends.ts';

t.setTimeout(300_000);

const MINUTE = 60_000;
const KEY = 'a key that the server never sees';

/** The Tang face with all that is behind it, in a time that is the test's, and Debian's Clevis before it. */
async function start(
  t: Test,
  policy: Extract<OperatorRequest, { command: 'invite-tang' }>['policy'] = {},
  options: { rates?: Rates } = {},
) {
  const server = await startApp(t, sqlitePlace(t));
  const host = clevisHost(t);
  const lines: string[] = [];
  const note = (line: string) => void lines.push(line);
  const log = { info: note, warning: note, error: note };
  const { certificate, key } = host.server;
  const https = { certificate, key, asksForKey: false, place: { host: '127.0.0.1', port: 0 } };
  const listener = await serveHttps(https, tangFront({ app: server.app, log, clock, ...options }));
  t.teardown(() => listener.stop());
  const request: OperatorRequest = {
    command: 'invite-tang',
    name: 'nas',
    policy: { 'allowed-from': ['127.0.0.1'], ...policy },
  };
  const invited = await server.operate<'invite-tang'>(request);
  const url = `https://127.0.0.1:${listener.port}${invited.path}`;
  const secretFile = `${t.testdirName}/alive`;
  writeFileSync(secretFile, `${invited.alive}\n`);
  return {
    ...server,
    ...host,
    lines,
    url,
    thp: invited.thp,
    seal: async () => {
      const ended = await host.run(
        ['clevis', 'encrypt', 'tang', JSON.stringify({ url, thp: invited.thp })],
        KEY,
      );
      if (ended.status !== 0) throw new Error(ended.stderr);
      return ended.stdout;
    },
    open: (jwe: Buffer) => host.run(['clevis', 'decrypt'], jwe),
    alive: () => host.sendAlive(url, secretFile),
    status: async () => (await server.operate<'machine'>({ command: 'show', name: 'nas' })).machine.status,
  };
}

const opened = { status: 0, stdout: Buffer.from(KEY) };
const refused = { status: 1, stdout: Buffer.alloc(0), stderr: /Error communicating with server/ };

t.test('a key opens while the lease lives, and curl keeps it alive', async (t) => {
  const server = await start(t);
  await server.pass(60 * MINUTE);
  const jwe = await server.seal();
  t.match(await server.open(jwe), opened);
  await server.pass(14 * MINUTE);
  t.match(await server.alive(), { status: 0, stdout: /^{"lease-left-ms":900000}\n$/ });
  await server.pass(14 * MINUTE);
  t.match(await server.open(jwe), opened, 'a lease from the last time');
  await server.pass(MINUTE);
  t.match(await server.open(jwe), refused, 'no release has made it longer');
  t.match(await server.alive(), { status: 22, stderr: /403/ }, 'too late: somebody has asked');
  await server.operate({ command: 'allow', name: 'nas' });
  t.match(await server.open(jwe), opened);
});

t.test('a late curl is no theft, unless somebody asked meanwhile', async (t) => {
  const server = await start(t);
  await server.seal();
  await server.pass(20 * MINUTE);
  t.equal(await server.status(), 'locked');
  t.match(await server.alive(), { status: 0 });
  t.equal(await server.status(), 'armed');
});

t.test('a wrong secret is no news of the machine, and keeps nothing alive', async (t) => {
  const server = await start(t);
  const jwe = await server.seal();
  const post = (body: string, path = '/alive') =>
    server.run(['curl', '-sS', '-w', '%{http_code}', '--data', body, `${server.url}${path}`]);
  const code = async (...args: Parameters<typeof post>) => {
    const { stdout } = await post(...args);
    const [, name, status] = /^\{"code":"([\w-]+)",.*\}\s(\d{3})$/.exec(stdout.toString()) ?? [];
    return `${status} ${name}`;
  };
  await server.pass(14 * MINUTE);
  const alerts = server.alerts.length;
  for (const wrong of ['', 'A'.repeat(43), server.thp, '%', 'x'.repeat(60_000)]) {
    t.equal(await code(wrong), '404 unknown', wrong.slice(0, 50));
  }
  t.equal(await code('x'.repeat(70_000)), '400 bad-request');
  t.equal(server.alerts.length, alerts);
  await server.pass(MINUTE);
  t.equal(await server.status(), 'locked');
  t.equal(await code('A'.repeat(43)), '404 unknown', 'nor does it say that the machine is locked');
  t.match(await server.open(jwe), refused);
  t.match(
    server.lines.at(-2),
    /^127\.0\.0\.1 POST \/t\/[\w-]{22}\/alive: unknown: nas: unknown \[[0-9a-f]{16}\]$/,
  );
  t.notOk(
    server.lines.some((line) => line.includes('AAAAAAAA')),
    'no secret is in the log',
  );
});

t.test('from elsewhere nothing is given, and nothing is used up', async (t) => {
  const plenty = { perSecond: 100, burst: 100 };
  const rates = ratesOf({ handshakes: plenty, fromAddress: plenty, ofMachine: { perSecond: 0, burst: 6 } });
  const server = await start(t, {}, { rates });
  const jwe = await server.seal();
  const config = JSON.stringify({ url: server.url, thp: server.thp });
  t.match(await server.elsewhere(['clevis', 'decrypt'], jwe), refused);
  t.match(await server.elsewhere(['clevis', 'encrypt', 'tang', config], KEY), {
    status: 1,
    stderr: /Unable to fetch advertisement/,
  });
  t.match(server.alerts, [{ kind: 'refused', machine: 'nas', from: '127.0.0.2', text: 'not-allowed-from' }]);
  for (let tries = 0; tries < 6; tries++) await server.elsewhere(['curl', '-s', `${server.url}/adv`]);
  const { stdout } = await server.elsewhere(['curl', '-s', `${server.url}/adv`]);
  t.match(JSON.parse(stdout.toString()), { code: 'too-many' });
  t.match(await server.open(jwe), opened, 'its own rate is untouched');
  // Its lease ends, and he asks on: no reason to take the machine's own word as a thief's.
  await server.pass(15 * MINUTE);
  t.match(await server.elsewhere(['clevis', 'decrypt'], jwe), refused);
  t.match(await server.alive(), { status: 0 });
});

t.test('lock, allow, approve, revoke', async (t) => {
  const server = await start(t, { approval: 'manual' });
  const jwe = await server.seal();
  t.match(await server.open(jwe), refused, 'somebody has to approve it');
  const waiting = async () =>
    (await server.operate<'machine'>({ command: 'show', name: 'nas' })).machine.pending.map(({ id }) => id);
  const [id = ''] = await waiting();
  await server.operate({ command: 'approve', name: 'nas', 'request-id': id });
  t.match(await server.open(jwe), opened);
  t.match(await server.open(jwe), refused, 'one approval, one release');
  await server.operate({ command: 'lock', name: 'nas' });
  t.match(
    await server.alive(),
    { status: 22, stderr: /403/ },
    'the secret does not unlock what somebody locked',
  );
  t.match(await server.open(jwe), refused);
  await t.rejects(server.seal(), /Unable to fetch advertisement/, 'nothing new is sealed either');
  await server.operate({ command: 'allow', name: 'nas' });
  t.match(await server.alive(), { status: 0 });
  const { machine } = await server.operate<'machine'>({ command: 'revoke', name: 'nas' });
  t.match(machine, { status: 'revoked', keys: 0, fingerprint: null, tang: /^\/t\/[\w-]{22}$/ });
  t.match(await server.open(jwe), refused);
  t.match(server.alerts.at(-1), { kind: 'refused', text: 'revoked' });
  t.match(await server.alive(), { status: 22, stderr: /403/ });
  await t.rejects(server.operate({ command: 'allow', name: 'nas' }), { code: 'refused' });
  const { lines } = await server.operate<'audit'>({ command: 'audit', after: 0 });
  t.same(
    lines.map((line) => JSON.parse(line).record).map(({ who, what, outcome }) => `${who} ${what} ${outcome}`),
    [
      'operator invite-tang done',
      'machine advertise done',
      'machine recover approval-pending',
      'operator approve done',
      'machine recover done',
      'machine recover approval-pending',
      'operator lock locked',
      'machine recover locked',
      'machine advertise locked',
      'operator allow done',
      'operator revoke revoked',
      'machine recover revoked',
    ],
  );
});

t.test('only what a Tang server is asked is answered', async (t) => {
  const server = await start(t);
  const other = await server.operate<'invite-tang'>({
    command: 'invite-tang',
    name: 'other',
    policy: { 'allowed-from': ['127.0.0.1'] },
  });
  const base = server.url.replace(/\/t\/.*/, '');
  const curl = async (path: string, ...more: string[]) => {
    const ended = await server.run(['curl', '-sS', '-w', '\n%{http_code}', ...more, `${base}${path}`]);
    const [body = '', status] = ended.stdout.toString().trimEnd().split(/\n+/);
    return { status: Number(status), body: JSON.parse(body) };
  };
  const path = server.url.slice(base.length);
  const { body: jws } = await curl(`${path}/adv`);
  const { keys } = JSON.parse(Buffer.from(jws.payload, 'base64url').toString());
  const [signer, exchange] = keys;
  const [signerS1, kid, kidS1] = [
    thumbprint(signer, 'S1'),
    thumbprint(exchange, 'S256'),
    thumbprint(exchange, 'S1'),
  ];
  const point = JSON.stringify(exchange);
  const off = JSON.stringify({ ...exchange, y: exchange.x });
  const p256 = JSON.stringify(toJwk(generateEphemeral(curves['P-256']).point));
  for (const good of ['/adv', '/adv/', `/adv/${server.thp}`, `/adv/${signerS1}`]) {
    t.match(await curl(path + good), { status: 200, body: { payload: /./, signature: /./ } }, good);
  }
  for (const good of [kid, kidS1]) {
    t.match(await curl(`${path}/rec/${good}`, '--data-binary', point), {
      status: 200,
      body: { alg: 'ECMR', kty: 'EC', crv: 'P-521', key_ops: ['deriveKey'] },
    });
  }
  const alerts = server.alerts.length;
  const refusals: [number, string, string, ...string[]][] = [
    [404, 'the exchange key signed nothing', `${path}/adv/${kid}`],
    [404, 'the signing key exchanges nothing', `${path}/rec/${server.thp}`, '--data', point],
    [404, 'a key of another machine', `${other.path}/rec/${kid}`, '--data', point],
    [404, 'no such machine', `/t/${'A'.repeat(22)}/adv`],
    [404, 'a machine by its name', '/t/nas/adv'],
    [404, 'no machine at all', '/adv'],
    [404, 'no such route', `${path}/keys`],
    [404, 'no such method', `${path}/alive`],
    [404, 'what machines ask that have joined', '/v1/watch'],
    [404, 'a point on another curve', `${path}/rec/${kid}`, '--data', p256],
    [400, 'a point off its curve', `${path}/rec/${kid}`, '--data', off],
    [400, 'no JSON', `${path}/rec/${kid}`, '--data', '{'],
  ];
  for (const [status, title, target, ...more] of refusals) {
    t.match(await curl(target, ...more), { status, body: { 'request-id': /^[0-9a-f]{16}$/ } }, title);
  }
  t.equal(server.alerts.length, alerts, 'anybody can ask that: nobody is called for it');
});

t.test('whom the server does not invite', async (t) => {
  const server = await start(t);
  const invite = (policy: object, name = 'other') =>
    server.operate({ command: 'invite-tang', name, policy } as OperatorRequest);
  await t.rejects(invite({}), { code: 'usage', message: /--from/ });
  await t.rejects(invite({ 'allowed-from': ['127.0.0.1/8'] }), {
    code: 'usage',
    message: /block of addresses/,
  });
  await t.rejects(invite({ 'allowed-from': ['127.0.0.1'] }, 'nas'), { code: 'usage', message: /already/ });
  await t.rejects(server.operate({ command: 'invite', name: 'nas', policy: {}, rejoin: true }), {
    code: 'usage',
    message: /already/,
  });
});
