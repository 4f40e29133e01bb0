import { createPublicKey } from 'node:crypto';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { headFromJson, isSigned } from '../../src/server/audit/heads.ts';
import { fetchLuksKey } from '../support/command-line.ts';
import { type KeyServerProcess, startKeyServer } from '../support/key-server.ts';
import { isSignedBy, type Received, webhookTarget } from '../support/webhook-target.ts';

// The whole server and the whole machine, with receivers of webhooks that work, hang and are away.
t.setTimeout(300_000);

const KEY = 'a key that the server never sees';
const SECRET = Buffer.alloc(32, 7).toString('base64');

/** A server that tells `urls` of its alerts. */
async function serverTelling(t: Test, urls: readonly URL[]): Promise<KeyServerProcess> {
  const folder = t.testdir({});
  writeFileSync(`${folder}/secret`, `${SECRET}\n`, { mode: 0o600 });
  const webhooks = urls.map(({ href }) => ({ url: href, secret: `${folder}/secret` }));
  writeFileSync(`${folder}/config.yaml`, JSON.stringify({ webhooks }));
  return await startKeyServer(t, '--config', `${folder}/config.yaml`);
}

/** A machine that has joined and sealed a key. @returns opens it */
async function sealedMachine(t: Test, server: KeyServerProcess, ...options: string[]) {
  const etc = `${t.testdirName}/etc`;
  const joined = await fetchLuksKey(
    ['join', '--name', 'home', '--etc', etc],
    await server.invite('nas', ...options),
  );
  t.equal(joined.status, 0, joined.stderr);
  const sealed = await fetchLuksKey(['seal', 'remote', '{"server":"home"}', '--etc', etc], KEY);
  t.equal(sealed.status, 0, sealed.stderr);
  return () => fetchLuksKey(['open', '-', '--etc', etc], sealed.stdout);
}

const kinds = (received: readonly Received[]) => received.map(({ json }) => json.kind);

t.test('a webhook hears of what the journal hears of, and of the audit log', async (t) => {
  const target = await webhookTarget(t, (_, index) => (index === 0 ? 500 : 200));
  const server = await serverTelling(t, [target.url]);
  const open = await sealedMachine(t, server, '--approval', 'manual');
  t.equal((await open()).status, 4, 'somebody has to approve it');
  t.equal((await server.command('lock', 'nas')).status, 0);
  t.equal((await open()).status, 4, 'locked');
  t.equal((await server.command('revoke', 'nas', '--yes')).status, 0);
  t.equal((await open()).status, 4, 'revoked');
  await target.until(
    (received) => kinds(received).at(-1) === 'refused' && received.at(-1)?.json.text === 'revoked',
  );
  t.match(
    target.received.map(({ json }) => json),
    [
      { kind: 'joined', machine: 'nas', from: '127.0.0.1', text: null },
      { kind: 'joined' },
      { kind: 'approval-pending', from: '127.0.0.1', text: 'approval-pending' },
      { kind: 'locked', from: null },
      { kind: 'refused', from: '127.0.0.1', text: 'locked' },
      { kind: 'revoked', from: null },
      { kind: 'refused', text: 'revoked' },
    ],
  );
  t.ok(target.received.every((message) => isSignedBy(SECRET, message)));
  for (const { json } of target.received.slice(1)) {
    const line = server.journal.find((one) => one.includes(`[${json['request-id']}]`));
    t.match(line, /^<4>alert /, 'the journal has it too');
  }
});

t.test('its own heads go out, signed with its own key', async (t) => {
  const target = await webhookTarget(t);
  const server = await serverTelling(t, [target.url]);
  await sealedMachine(t, server);
  const heads = () => target.received.map(({ json }) => json['audit-head']).filter((head) => head !== null);
  // A head is signed every few seconds, where something was recorded.
  while (heads().length === 0) {
    const { length } = target.received;
    t.equal((await server.command('lock', 'nas')).status, 0);
    t.equal((await server.command('allow', 'nas')).status, 0);
    await target.until((received) => received.length > length);
  }
  const head = headFromJson(heads()[0]);
  if (head === null) throw new Error('no head');
  t.ok(isSigned(head, [createPublicKey(readFileSync(`${server.state}/identity.pem`))]));
  const { stdout } = await server.command('audit', 'export');
  const record = stdout.split('\n').find((line) => line.includes(`"seq":${head.seq},`));
  t.match(record, `"hash":"${head.hash.toString('base64url')}"`, 'and it is one of the log');
});

t.test('a target that hangs holds nobody up', async (t) => {
  const hanging = await webhookTarget(t, () => 'hang');
  const working = await webhookTarget(t);
  const nobody = new URL('http://127.0.0.1:1/');
  const server = await serverTelling(t, [hanging.url, nobody, working.url]);
  const open = await sealedMachine(t, server);
  await hanging.until(({ length }) => length === 1);
  t.match(await open(), { status: 0, stdout: KEY }, 'a release goes on');
  t.equal((await server.command('lock', 'nas')).status, 0);
  await working.until((received) => kinds(received).includes('locked'));
  t.strictSame(kinds(hanging.received), ['joined']);
  t.equal(await server.stop(), 0, 'nor does the server wait for it');
  t.match(
    server.journal.filter((line) => line.includes(hanging.url.origin)).at(-1),
    /^<4>webhook http:\S+: stopped, with alerts that were not delivered: 2$/,
  );
});

t.test('what is no secret', async (t) => {
  const target = await webhookTarget(t);
  const server = await serverTelling(t, [target.url]);
  const folder = t.testdirName;
  t.equal(await server.stop(), 0);
  chmodSync(`${folder}/secret`, 0o644);
  await t.rejects(server.start(), /ended with 3: .*secret: everybody can read or write it/s);
  chmodSync(`${folder}/secret`, 0o600);
  writeFileSync(`${folder}/secret`, 'not base64, but 32 bytes of text');
  await t.rejects(server.start(), /ended with 3: .*secret: expected 24 to 64 bytes in base64 \(hint: /s);
});
