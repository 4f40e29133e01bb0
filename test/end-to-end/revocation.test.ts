import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { AppError } from '../../src/base/errors.ts';
import { parseKeyPin } from '../../src/base/key-pin.ts';
import { generateEphemeral } from '../../src/exchange/agreement.ts';
import { curves } from '../../src/exchange/curve.ts';
import { toJwk } from '../../src/exchange/jwk.ts';
import { makeIdentity } from '../../src/identity/identity.ts';
import { random } from '../../src/os/random.ts';
import { serverConnector } from '../../src/os/server-connection.ts';
import { ask } from '../../src/remote/key-server.ts';
import * as wire from '../../src/wire/machine.ts';
import { startKeyServer } from '../support/key-server.ts';
import { startPostgres } from '../support/postgres.ts';

t.setTimeout(300_000);

t.test('revoked through one process, refused by every other in the very next request', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'revocation-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const postgres = await startPostgres(t);
  const store = join(folder, 'store');
  writeFileSync(store, await postgres.database(), { mode: 0o600 });
  const one = await startKeyServer(t, '--store', `file:${store}`);
  const key = join(folder, 'master-key');
  cpSync(join(one.state, 'master-key'), key);
  const identityFile = join(one.state, 'identity.pem');
  const other = await startKeyServer(t, '--store', `file:${store}`, '--identity', identityFile).catch(
    () => null,
  );
  t.equal(other, null, 'another master key is refused');
  const shared = mkdtempSync(join(tmpdir(), 'revocation-state-'));
  t.teardown(() => rmSync(shared, { recursive: true }));
  cpSync(key, join(shared, 'master-key'));
  const two = await startKeyServer(
    t,
    '--store',
    `file:${store}`,
    '--identity',
    identityFile,
    '--state',
    shared,
  );

  const line = new URL(await one.invite('nas'));
  const fields = new URLSearchParams(line.hash.slice(1));
  const pinSha256 = parseKeyPin(`sha256/${fields.get('pin')}`) ?? Buffer.alloc(0);
  const identity = makeIdentity('nas', random);
  const tls = { clientCertificate: identity.certificate, clientKey: identity.key, pinsSha256: [pinSha256] };
  const never = new AbortController().signal;
  const connect = async (url: string) => {
    const connection = await serverConnector.connect(new URL(url), tls, 10_000, never);
    t.teardown(() => connection.close());
    return connection;
  };
  const boot = 'a';
  const first = await connect(one.url);
  await ask(first, 'POST', '/v1/join', { invitation: fields.get('invitation') }, wire.join.response, never);
  const alive = createHash('sha256').update('x').digest('base64url');
  const made = { crv: 'P-256', alive, boot };
  const { kid } = await ask(first, 'POST', '/v1/keys', made, wire.createKey.response, never);

  const connections = await Promise.all([one, two, one, two].map(({ url }) => connect(url)));
  let revokedAt = Number.POSITIVE_INFINITY;
  const outcomes: { startedAt: number; code: unknown }[] = [];
  const asking = connections.map(async (connection) => {
    for (let request = 0; request < 20; request++) {
      const startedAt = performance.now();
      const point = toJwk(generateEphemeral(curves['P-256']).point);
      const recover = ask(
        connection,
        'POST',
        `/v1/keys/${kid}/recover`,
        { point, boot },
        wire.recover.response,
        never,
      );
      const code = await recover.then(
        () => 'released',
        (thrown: unknown) => (thrown instanceof AppError ? thrown.cause : thrown),
      );
      outcomes.push({ startedAt, code });
      await pause(100);
    }
  });
  await pause(100);
  t.equal((await one.command('revoke', 'nas', '--yes')).status, 0);
  revokedAt = performance.now();
  await Promise.all(asking);
  const [before, after] = [
    outcomes.filter(({ startedAt }) => startedAt < revokedAt),
    outcomes.filter(({ startedAt }) => startedAt >= revokedAt),
  ];
  t.ok(
    before.some(({ code }) => code === 'released'),
    `${before.length} requests before`,
  );
  t.ok(after.length > 0, `${after.length} requests after`);
  t.same([...new Set(after.map(({ code }) => code))], ['revoked']);
  t.match((await two.command('audit', 'verify')).stdout, /^\d+ records, head /);
});
