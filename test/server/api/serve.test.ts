import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import t from 'tap';
import { Secret } from '../../../src/base/secret.ts';
import { generateEphemeral } from '../../../src/exchange/agreement.ts';
import { curves } from '../../../src/exchange/curve.ts';
import { toJwk } from '../../../src/exchange/jwk.ts';
import { invitationHash } from '../../../src/server/api/join.ts';
import type { PolicyChange } from '../../../src/server/api/policy-change.ts';
import { importLine } from '../../../src/server/audit/export.ts';
import { verifyAudit } from '../../../src/server/audit/verify.ts';
import { CLAIMS_PER_HOUR, defaultPolicy, KEYS_PER_MACHINE } from '../../../src/server/machine/policy.ts';
import { writeBackup } from '../../../src/server/store/backup.ts';
import { restoreBackup } from '../../../src/server/store/restore.ts';
import { onBoth, openAt, sqlitePlace } from '../store/backends.ts';
import { joinedMachine, startApp, TestMachine } from './machines.ts';

const MINUTE = 60_000;

onBoth('invited, joined, sealed, opened, revoked', async (t, place) => {
  const server = await startApp(t, place);
  const { invitation } = await server.operate<'invite'>({
    command: 'invite',
    name: 'nas',
    policy: {},
    rejoin: false,
  });
  const nas = new TestMachine(server);
  t.same(await nas.join(invitation), { name: 'nas', status: 'armed', chain: [] });
  for (const crv of ['P-521', 'P-256'] as const) {
    t.match(await nas.seal(crv), { kid: /^[\w-]{43}$/, key: { crv } });
    t.equal(await nas.recover(), 'opened', crv);
  }
  t.match(await nas.keepalive(), { 'lease-left-ms': 15 * MINUTE });
  const { machine } = await server.operate<'machine'>({ command: 'revoke', name: 'nas' });
  t.match(machine, { status: 'revoked', keys: 0 });
  t.equal(await nas.recover(), 'revoked');
  t.match(await nas.keepalive(), { code: 'revoked' });
  t.match(await nas.seal(), { code: 'revoked' });
  t.same(
    server.alerts.map(({ kind }) => kind),
    ['joined', 'revoked', 'refused'],
  );
  const { lines } = await server.operate<'audit'>({ command: 'audit', after: 0 });
  const records = lines.map((line) => JSON.parse(line).record);
  const summary = records.map(({ who, what, outcome }) => `${who} ${what}: ${outcome}`);
  t.same(summary.slice(0, 4), [
    'operator invite: done',
    'machine join: done',
    'machine create-key: done',
    'machine recover: done',
  ]);
  t.ok(summary.includes('operator revoke: revoked'));
  t.notOk(
    summary.some((line) => line.includes('keepalive')),
    'keep-alives are no records, unless they change something',
  );
  t.same((await verifyAudit(lines.map(importLine), [], [])).faults, []);
});

onBoth('an invitation is for one machine, one hour, once', async (t, place) => {
  const server = await startApp(t, place);
  const invite = async (name: string, rejoin = false) =>
    (await server.operate<'invite'>({ command: 'invite', name, policy: {}, rejoin })).invitation;
  const code = async (invitation: string, machine = new TestMachine(server)) =>
    (await machine.join(invitation)).code;
  const used = await invite('a');
  t.equal(await code(used), undefined);
  t.equal(await code(used), 'unknown', 'used');
  t.equal(await code(randomBytes(32).toString('base64url')), 'unknown', 'made up');
  const raced = await invite('c');
  const codes = await Promise.all(Array.from({ length: 8 }, () => code(raced)));
  t.equal(codes.filter((one) => one === undefined).length, 1, 'of eight who race one wins');
  const stranger = new TestMachine(server);
  const anonymous = await server.ask({ path: '/v1/join', body: { invitation: await invite('d') } });
  t.match(anonymous, { status: 400, json: { code: 'bad-request' } }, 'who shows no key cannot join');
  for (const [body, said] of [
    [undefined, 'bad-request'],
    [{}, 'bad-request'],
    [{ invitation: 7 }, 'bad-request'],
    [{ invitation: 'x' }, 'bad-request'],
    [{ invitation: used, more: 1 }, 'bad-request'],
  ] as const)
    t.equal((await stranger.post('/v1/join', body)).code, said, JSON.stringify(body));
  await t.rejects(invite('a'), { code: 'usage', message: /there is a machine "a" already/ });
  await t.rejects(invite('x', true), { code: 'usage', message: /no machine "x"/ });
});

onBoth('a machine that joins again is locked until an operator has looked', async (t, place) => {
  const server = await startApp(t, place);
  const old = await joinedMachine(server, 'nas');
  const { invitation } = await server.operate<'invite'>({
    command: 'invite',
    name: 'nas',
    policy: {},
    rejoin: true,
  });
  const fresh = new TestMachine(server);
  t.same(await fresh.join(invitation), { name: 'nas', status: 'locked', chain: [] });
  t.match(await old.keepalive(), { code: 'unknown' }, 'the old key is nobody');
  t.match(await fresh.seal(), { code: 'locked' });
  const { machine } = await server.operate<'machine'>({ command: 'show', name: 'nas' });
  t.match(machine, { cause: 'rejoin', fingerprint: `sha256/${fresh.pin.toString('base64url')}` });
  await t.rejects(server.operate({ command: 'allow', name: 'nas' }), {
    code: 'refused',
    message: /confirmed/,
  });
  const wrong = `sha256/${randomBytes(32).toString('base64url')}`;
  await t.rejects(server.operate({ command: 'allow', name: 'nas', fingerprint: wrong }), { code: 'refused' });
  t.match(await fresh.seal(), { code: 'locked' });
  const fingerprint = machine.fingerprint ?? '';
  await server.operate({ command: 'allow', name: 'nas', fingerprint });
  t.match(await fresh.seal(), { kid: /./ });
  t.equal(await fresh.recover(), 'opened');
});

onBoth('a revoked machine never joins again, by no invitation', async (t, place) => {
  const server = await startApp(t, place);
  await joinedMachine(server, 'nas');
  const invite = { command: 'invite', name: 'nas', policy: {}, rejoin: true } as const;
  const { invitation } = await server.operate<'invite'>(invite);
  await server.operate({ command: 'revoke', name: 'nas' });
  t.match(await new TestMachine(server).join(invitation), { code: 'unknown' }, 'it is gone');
  await t.rejects(server.operate(invite), { code: 'refused' });
  // As a process would find it that knows of the revocation by its tombstones alone.
  const hash = invitationHash(Buffer.from(invitation, 'base64url'));
  const details = { policy: defaultPolicy, rejoin: true };
  const expiresMs = server.app.store.now().leaseMs + MINUTE;
  await server.app.store.transaction((tx) => tx.addInvitation({ hash, name: 'nas', expiresMs, details }));
  t.match(await new TestMachine(server).join(invitation), { code: 'revoked' });
  t.match(server.lines.at(-1), /POST \/v1\/join: revoked: nas: the machine is revoked/);
});

onBoth('who has the machine’s identity alone gets no proof of his own accepted', async (t, place) => {
  const server = await startApp(t, place);
  const nas = await joinedMachine(server, 'nas');
  const alive = randomBytes(32).toString('base64url');
  const made = { crv: 'P-256', alive, boot: '0b' };
  t.match(await nas.post('/v1/keys', made), { code: 'unknown' });
  const proof = { kid: nas.kid, proof: randomBytes(32).toString('base64url') };
  t.match(await nas.post('/v1/keys', { ...made, proof }), { code: 'unknown' });
  t.match(await nas.seal(), { kid: /./ }, 'the machine itself has one');
  await server.operate({ command: 'lock', name: 'nas' });
  t.match(await nas.post(`/v1/keys/${nas.kid}`, undefined, 'DELETE'), { code: 'locked' });
});

onBoth('another machine’s key, and none at all, are told alike', async (t, place) => {
  const server = await startApp(t, place);
  const [ada, bob] = [await joinedMachine(server, 'ada'), await joinedMachine(server, 'bob')];
  t.equal(await ada.recover(bob.kid), 'unknown');
  t.equal(await ada.recover(randomBytes(32).toString('base64url')), 'unknown');
  const answers = await Promise.all(
    [bob.kid, randomBytes(32).toString('base64url')].map((kid) =>
      ada.post(`/v1/keys/${kid}`, undefined, 'GET'),
    ),
  );
  const told = answers.map(({ 'request-id': _, ...rest }) => rest);
  t.same(told[0], told[1]);
  const stranger = new TestMachine(server);
  t.match(await stranger.post(`/v1/keys/${ada.kid}`, undefined, 'GET'), { code: 'unknown' });
  t.match(await ada.post(`/v1/keys/${ada.kid}`, undefined, 'DELETE'), { kid: ada.kid });
  t.equal(await ada.recover(), 'unknown', 'deleted');
});

onBoth('what is no request', async (t, place) => {
  const server = await startApp(t, place);
  const ada = await joinedMachine(server, 'ada');
  const recover = (body: unknown) => ada.post(`/v1/keys/${ada.kid}/recover`, body);
  const point = { crv: 'P-256', kty: 'EC', x: 'A'.repeat(43), y: 'A'.repeat(43) };
  const wrong: [title: string, body: unknown][] = [
    ['nothing', undefined],
    ['a list', []],
    ['no point', { boot: 'a' }],
    ['off the curve', { point, boot: 'a' }],
    ['a coordinate too long', { point: { ...point, x: 'A'.repeat(88) }, boot: 'a' }],
    ['another curve', { point: { ...point, crv: 'P-384' }, boot: 'a' }],
    ['no boot', { point }],
    ['a boot of other characters', { point, boot: '../../etc' }],
    ['more than is known', { point, boot: 'a', force: true }],
    ['evidence that nobody reads', { point, boot: 'a', evidence: {} }],
  ];
  for (const [title, body] of wrong) t.match(await recover(body), { code: 'bad-request' }, title);
  for (const path of [
    '/',
    '/v1',
    '/v1/keys/',
    '/v1/keys/../join',
    `/v1/keys/${ada.kid}/`,
    '/v1/join/',
    '//v1/join',
  ])
    t.match(await ada.post(path, {}), { code: 'unknown' }, path);
  t.equal(await ada.recover(), 'opened', 'nothing of that counted');
});

// PostgreSQL's own clock has a say in the lease clock there, and does not wait for a test.
t.test('time, as the lease clock has it', async (t) => {
  const server = await startApp(t, sqlitePlace(t));
  const nas = await joinedMachine(server, 'nas');
  const late = await server.operate<'invite'>({ command: 'invite', name: 'b', policy: {}, rejoin: false });
  await server.pass(14 * MINUTE);
  t.match(await nas.keepalive(null), { 'lease-left-ms': MINUTE }, 'without proof it is seen');
  t.match(await nas.keepalive(randomBytes(32)), { 'lease-left-ms': MINUTE }, 'with a wrong one too');
  await server.pass(MINUTE);
  t.equal(await nas.recover(), 'locked');
  t.match(await nas.keepalive(), { code: 'locked' }, 'as somebody asked');
  await server.pass(45 * MINUTE);
  const { code } = await new TestMachine(server).join(late.invitation);
  t.equal(code, 'unknown', 'an invitation has expired at the very instant');
});

onBoth('lock, allow, approval, and who is told', async (t, place) => {
  const server = await startApp(t, place);
  const nas = await joinedMachine(server, 'nas');
  await server.operate({ command: 'lock', name: 'nas' });
  t.equal(await nas.recover(), 'locked');
  await server.operate({ command: 'allow', name: 'nas' });
  t.equal(await nas.recover(), 'opened');
  await server.operate({ command: 'lock', name: 'nas' });
  t.match(await nas.keepalive(), { code: 'locked' });
  t.match(await nas.announce(5 * MINUTE), { code: 'locked' });
  const careful = await joinedMachine(server, 'careful', {
    approval: 'manual',
    'allowed-from': ['192.0.2.0/24'],
  });
  t.equal(await careful.recover(), 'approval-pending');
  const { machine } = await server.operate<'machine'>({ command: 'show', name: 'careful' });
  const [pending] = machine.pending;
  await server.operate({ command: 'approve', name: 'careful', 'request-id': pending?.id ?? '' });
  careful.address = '198.51.100.1';
  t.equal(await careful.recover(), 'not-allowed-from');
  careful.address = '192.0.2.1';
  t.equal(await careful.recover(), 'opened');
  t.ok(server.alerts.some(({ kind, machine: name }) => kind === 'approval-pending' && name === 'careful'));
  const { machines } = await server.operate<'list'>({ command: 'list', after: '' });
  t.match(machines, [
    { name: 'careful', status: 'armed', keys: 1, policy: { approval: 'manual' } },
    { name: 'nas', status: 'locked', cause: 'operator', 'last-seen-from': '192.0.2.1' },
  ]);
});

onBoth('an answer leaves only after its record', async (t, place) => {
  const server = await startApp(t, place);
  const nas = await joinedMachine(server, 'nas');
  await place.tamper('DROP TABLE audit');
  t.equal(await nas.recover(), 'unavailable');
});

onBoth('watch tells each change, and ends with the last', async (t, place) => {
  const server = await startApp(t, place);
  const nas = await joinedMachine(server, 'nas');
  const outgoing = await server.ask({ method: 'GET', path: '/v1/watch', clientPin: nas.pin });
  if (!('events' in outgoing)) throw new Error('no events');
  const events = outgoing.events[Symbol.asyncIterator]();
  const next = async () => (await events.next()).value as unknown;
  t.same(await next(), { status: 'armed' });
  await server.operate({ command: 'lock', name: 'nas' });
  t.same(await next(), { status: 'locked' });
  await server.operate({ command: 'allow', name: 'nas' });
  t.same(await next(), { status: 'armed' });
  await server.operate({ command: 'revoke', name: 'nas' });
  t.same(await next(), { status: 'revoked' });
  t.same(await events.next(), { value: undefined, done: true });
  t.match(await server.ask({ method: 'GET', path: '/v1/watch' }), { status: 404 });
});

// PostgreSQL's own clock has a say in the lease clock there; test/end-to-end/two-servers.test.ts waits for one.
t.test('watch tells that a lease has ended, and that it goes on again', async (t) => {
  const server = await startApp(t, sqlitePlace(t));
  const nas = await joinedMachine(server, 'nas');
  const outgoing = await server.ask({ method: 'GET', path: '/v1/watch', clientPin: nas.pin });
  if (!('events' in outgoing)) throw new Error('no events');
  const told: unknown[] = [];
  const watching = (async () => {
    for await (const { status } of outgoing.events as AsyncIterable<{ status: string }>) told.push(status);
  })();
  /** What is under way meanwhile comes to its end. */
  const hears = async (...expected: string[]) => {
    for (let turn = 0; told.length < expected.length && turn < 1000; turn++) await new Promise(setImmediate);
    t.same(told, expected);
  };
  await hears('armed');
  await server.pass(14 * MINUTE);
  await nas.keepalive();
  await server.pass(14 * MINUTE);
  await hears('armed');
  await server.pass(MINUTE);
  await hears('armed', 'locked');
  t.match(await nas.keepalive(), { 'lease-left-ms': 15 * MINUTE }, 'late, and with its proof');
  await hears('armed', 'locked', 'armed');
  await server.operate({ command: 'lock', name: 'nas' });
  await hears('armed', 'locked', 'armed', 'locked');
  await server.operate({ command: 'allow', name: 'nas' });
  await server.operate({ command: 'expect', name: 'nas', boots: 1, 'within-ms': 30 * MINUTE });
  await hears('armed', 'locked', 'armed', 'locked', 'armed');
  await server.pass(29 * MINUTE);
  await hears('armed', 'locked', 'armed', 'locked', 'armed');
  await server.pass(MINUTE);
  await hears('armed', 'locked', 'armed', 'locked', 'armed', 'locked');
  await server.operate({ command: 'revoke', name: 'nas' });
  await watching;
  t.equal(told.at(-1), 'revoked');
});

onBoth('a machine’s own words are recorded as its claim', async (t, place) => {
  const server = await startApp(t, place);
  const nas = await joinedMachine(server, 'nas');
  t.same(await nas.post('/v1/alerts', { kind: 'acted', text: 'suspended data' }), {});
  t.match(server.alerts.at(-1), { kind: 'acted', machine: 'nas', text: 'suspended data' });
  const { lines } = await server.operate<'audit'>({ command: 'audit', after: 0 });
  t.match(JSON.parse(lines.at(-1) ?? ''), {
    record: { what: 'claim', outcome: 'acted', details: { text: 'suspended data' } },
  });
});

onBoth('a machine has at most 64 keys, and a backup takes it', async (t, place) => {
  const server = await startApp(t, place);
  const nas = await joinedMachine(server, 'nas');
  for (let count = 1; count < KEYS_PER_MACHINE; count++) t.match(await nas.seal(), { kid: /./ });
  t.match(await nas.seal(), { code: 'count-used' });
  t.match(await nas.post(`/v1/keys/${nas.kid}`, undefined, 'DELETE'), { kid: nas.kid });
  t.match(await nas.seal(), { code: 'count-used' }, 'one that can come back counts');
  const passphrase = () => new Secret(Buffer.from('passphrase'));
  const parts: Buffer[] = [];
  await writeBackup(server.app.store, new Map(), passphrase(), async (part) => void parts.push(part));
  const restored = await openAt(t, sqlitePlace(t));
  await restoreBackup(restored, Readable.from(parts), passphrase(), (state) => state);
  t.equal((await restored.snapshot((reader) => reader.machinesAfter('', 10))).length, 1);
});

onBoth(
  'a revoked machine that floods: its words are bounded, and so is what is told of it',
  async (t, place) => {
    const server = await startApp(t, place);
    const nas = await joinedMachine(server, 'nas');
    await server.operate({ command: 'revoke', name: 'nas' });
    server.alerts.length = 0;
    const before = (await server.app.store.snapshot((reader) => reader.auditHead())).seq;
    const codes = [];
    for (let count = 0; count < 50; count++)
      codes.push((await nas.post('/v1/alerts', { kind: 'acted', text: `${count}` })).code);
    for (let count = 0; count < 50; count++)
      await nas.post(`/v1/keys/${randomBytes(32).toString('base64url')}`, undefined, 'GET');
    t.same(codes.slice(0, CLAIMS_PER_HOUR), Array(CLAIMS_PER_HOUR).fill(undefined));
    t.same(codes.slice(CLAIMS_PER_HOUR), Array(50 - CLAIMS_PER_HOUR).fill('revoked'));
    const kinds = server.alerts.map(({ kind }) => kind);
    t.same(kinds, [...Array(CLAIMS_PER_HOUR).fill('acted'), 'refused']);
    const after = (await server.app.store.snapshot((reader) => reader.auditHead())).seq;
    t.equal(after - before, CLAIMS_PER_HOUR + 1);
  },
);

onBoth('an operator changes the rules for a machine, and that is recorded', async (t, place) => {
  const server = await startApp(t, place);
  const nas = await joinedMachine(server, 'nas');
  const change: PolicyChange = {
    'lease-ms': 60 * MINUTE,
    'allowed-from': ['198.51.100.0/24'],
    approval: 'manual',
  } as const;
  const { machine } = await server.operate<'machine'>({ command: 'policy', name: 'nas', policy: change });
  t.match(machine.policy, { ...change, 'boot-grace-ms': 15 * MINUTE, 'late-keepalive': 'rearm' });
  t.equal(await nas.recover(), 'not-allowed-from');
  nas.address = '198.51.100.7';
  t.match(await nas.keepalive(), { 'lease-left-ms': 60 * MINUTE });
  t.equal(await nas.recover(), 'approval-pending');
  const records = (await server.operate<'audit'>({ command: 'audit', after: 0 })).lines.map(
    (line) => JSON.parse(line).record,
  );
  t.match(
    records.find(({ what }) => what === 'policy'),
    {
      who: 'operator',
      machine: 'nas',
      details: { 'lease-ms': 60 * MINUTE, 'allowed-from': '198.51.100.0/24' },
    },
  );
  const rule = (name: string, policy: PolicyChange) => server.operate({ command: 'policy', name, policy });
  await t.rejects(rule('nas', { 'allowed-from': ['x'] }), { code: 'usage' });
  const again = { command: 'invite', name: 'nas', policy: { approval: 'auto' }, rejoin: true } as const;
  await t.rejects(server.operate(again), { code: 'usage', message: /keeps its policy/ });
  const clevis: PolicyChange = { 'allowed-from': ['192.0.2.0/24'] };
  await server.operate({ command: 'invite-tang', name: 'old', policy: clevis });
  await t.rejects(rule('old', { 'allowed-from': [] }), { code: 'usage', message: /Tang client/ });
});

onBoth('a key that a machine has deleted is brought back by an operator', async (t, place) => {
  const server = await startApp(t, place);
  const [nas, other] = [await joinedMachine(server, 'nas'), await joinedMachine(server, 'other')];
  const undelete = (name: string, kid: string) =>
    server.operate<'machine'>({ command: 'undelete', name, kid });
  await t.rejects(undelete('nas', nas.kid), { code: 'usage', message: /no deleted key/ }, 'it is in use');
  await nas.post(`/v1/keys/${nas.kid}`, undefined, 'DELETE');
  t.equal(await nas.recover(), 'unknown');
  const { machine } = await server.operate<'machine'>({ command: 'show', name: 'nas' });
  t.match(machine, { keys: 0, 'deleted-keys': [{ kid: nas.kid }] });
  await t.rejects(undelete('other', nas.kid), { code: 'usage' }, 'of another machine');
  t.match((await undelete('nas', nas.kid)).machine, { keys: 1, 'deleted-keys': [] });
  t.equal(await nas.recover(), 'opened');
  const { lines } = await server.operate<'audit'>({ command: 'audit', after: 0 });
  t.ok(lines.some((line) => /"what":"undelete".*"machine":"nas"/.test(line)));
  await other.post(`/v1/keys/${other.kid}`, undefined, 'DELETE');
  await server.operate({ command: 'revoke', name: 'other' });
  await t.rejects(undelete('other', other.kid), { code: 'usage' }, 'what is destroyed stays so');
});

t.test('what was recorded is of no use later, in another boot, or to another machine', async (t) => {
  const server = await startApp(t, sqlitePlace(t));
  const [nas, eve] = [await joinedMachine(server, 'nas'), await joinedMachine(server, 'eve')];
  const point = toJwk(generateEphemeral(curves['P-256']).point);
  const recorded = { point, boot: nas.boot };
  const replay = () => nas.post(`/v1/keys/${nas.kid}/recover`, recorded);
  t.match(await replay(), { point: {} });
  t.match(await replay(), { point: {} }, 'at once it is the same request');
  t.match(await eve.post(`/v1/keys/${nas.kid}/recover`, recorded), { code: 'unknown' });
  await server.pass(2 * MINUTE);
  t.match(await replay(), { code: 'count-used' });
  nas.boot = '0b';
  t.equal(await nas.recover(), 'opened');
  t.match(await replay(), { code: 'locked' }, 'a boot that is over is one too many');
  const proof = { kid: nas.kid, proof: nas.secret.toString('base64url') };
  t.match(await eve.post('/v1/keepalive', { boot: eve.boot, proof }), { 'lease-left-ms': 13 * MINUTE });
  const announced = { boot: eve.boot, 'within-ms': MINUTE, proof };
  t.match(await eve.post('/v1/expect', announced), { code: 'unknown' });
  const key = { crv: 'P-256', alive: randomBytes(32).toString('base64url'), boot: eve.boot, proof };
  t.match(await eve.post('/v1/keys', key), { code: 'unknown' });
});
