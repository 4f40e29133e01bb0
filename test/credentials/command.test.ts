import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { setStage } from '../support/stage.ts';
import { startTang } from '../support/tang.ts';

const tang = await startTang(t);
const config = JSON.stringify({ url: tang.url, thp: tang.thp });

const sealAs = (etc: string, name: string, secret: string | Uint8Array, ...more: string[]) =>
  fetchLuksKey(['seal', '--credential', name, '--etc', etc, 'tang', config, ...more], secret);

t.test('what is sealed for a unit is served to it', async (t) => {
  const stage = await setStage(t, { standardInput: true });
  const most = Buffer.alloc(1024 * 1024 - 1, 'x');
  for (const secret of [Buffer.from('first'), most]) {
    const { status, stdout, stderr } = await sealAs(stage.etc, 'nginx.service/tls-key', secret);
    const folder = `${stage.etc}/credentials/nginx.service`;
    t.strictSame([status, stdout, stderr], [0, '', `wrote ${folder}/tls-key.jwe\n`]);
    t.strictSame(readdirSync(folder), ['tls-key.json', 'tls-key.jwe'], 'with how it was sealed');
    t.equal(statSync(`${folder}/tls-key.jwe`).mode & 0o777, 0o600);
    await stage.shows(t, 'asked', Buffer.from('\x001a/unit/nginx.service/tls-key'), {
      status: 0,
      line: /^nginx\.service\/tls-key: key delivered, opened by tang/,
      gets: secret,
    });
  }
  const { stdout } = await sealAs(stage.etc, 'a@.service/x', 'secret', '--json');
  const path = `${stage.etc}/credentials/a@.service/x.jwe`;
  t.strictSame(JSON.parse(stdout), { credential: 'a@.service/x', path, pin: 'tang' });
});

t.test('a secret that is not there is neither edited nor rotated', async (t) => {
  const etc = t.testdir({ credentials: { 'a.service': { 'broken.jwe': 'a.b.c' } } });
  const run = (...args: string[]) => fetchLuksKey(['credential', ...args, '--etc', etc]);
  for (const action of ['edit', 'rotate']) {
    const none = await run(action, 'a.service', 'none');
    fails(
      t,
      'none',
      none,
      3,
      /^nothing is sealed for a\.service\/none \(hint: fetch-luks-key credential list/,
    );
    fails(t, 'no unit', await run(action, 'a', 'none'), 2, /expected UNIT\.service\/ID, got "a\/none"/);
    const broken = await run(action, 'a.service', 'broken', 'tang', config);
    fails(t, 'broken', broken, 6, /broken\.jwe: sealed key: expected five parts/);
    fails(t, 'no JSON', await run(action, 'a.service', 'broken', 'tang', '{'), 3, /CONFIG: expected JSON/);
  }
});

t.test('a secret that no service could get is not sealed', async (t) => {
  const etc = t.testdir({});
  const long = Buffer.alloc(1024 * 1024);
  const at83 = `${'u'.repeat(75)}.service`;
  const cases: readonly [string, string | Uint8Array, RegExp][] = [
    ['nginx.service/tls', long, /standard input: expected at most 1048575 bytes, got more/],
    ['nginx.service/tls', '', /seal: standard input is empty \(hint/],
    ['nginx/tls', 'secret', /expected UNIT\.service\/ID, got "nginx\/tls"/],
    ['nginx.service', 'secret', /expected UNIT\.service\/ID/],
    ['nginx.service/../x', 'secret', /expected UNIT\.service\/ID/],
    ['../x.service/y', 'secret', /expected UNIT\.service\/ID/],
    ['nginx.service/..', 'secret', /expected a unit's and a credential's name/],
    ['nginx.service/a:b', 'secret', /expected UNIT\.service\/ID/],
    [`${at83}/x`, 'secret', /at most 83 bytes together/],
  ];
  for (const [name, secret, line] of cases) fails(t, name, await sealAs(etc, name, secret), 2, line);
  t.strictSame(readdirSync(etc), []);
  t.equal((await sealAs(etc, `${at83.slice(1)}/x`, 'secret')).status, 0, '83 bytes');
});

/** What runs under it has another /etc/systemd/system. */
function unitFolder(t: Test): { folder: string; wrapper: string[] } {
  const folder = t.testdir({
    system: {},
    in: `#!/bin/sh\nmount --bind "$1" /etc/systemd/system; shift; exec "$@"\n`,
  });
  return {
    folder: join(folder, 'system'),
    wrapper: ['/usr/bin/unshare', '--mount', '/bin/sh', join(folder, 'in'), join(folder, 'system')],
  };
}

t.test('a unit is made to ask, and to fail without', async (t) => {
  const { folder, wrapper } = unitFolder(t);
  const etc = `${folder}/../etc`;
  mkdirSync(etc);
  const run = (...args: string[]) => fetchLuksKey(['credential', ...args, '--etc', etc], '', {}, wrapper);
  const { status, stderr } = await run('install', 'pg@.service', 'tls');
  t.equal(status, 0, stderr);
  t.match(stderr, /^next: fetch-luks-key seal --credential pg@\.service\/tls PIN CONFIG < SECRET$/m);
  t.match(stderr, /^next: systemctl daemon-reload && systemctl restart pg@\.service$/m);
  const text = readFileSync(`${folder}/pg@.service.d/50-fetch-luks-key-tls.conf`, 'utf8');
  t.match(text, /^LoadCredential=tls:\/run\/fetch-luks-key\/credentials\/default\.sock$/m);
  t.match(text, /^ExecStartPre=\/usr\/bin\/test -s %d\/tls$/m);
  t.match(text, /^After=fetch-luks-key-credential@default\.socket$/m);

  const dropIn = () => readFileSync(`${folder}/pg@.service.d/50-fetch-luks-key-tls.conf`, 'utf8');
  const strict = await run('install', 'pg@.service', 'tls', '--encrypted');
  t.match(strict.stderr, /^next: fetch-luks-key seal --credential pg@\.service\/tls --encrypted PIN CONFIG/m);
  t.match(dropIn(), /^LoadCredentialEncrypted=tls:\/run\/fetch-luks-key\/credentials\/default\.sock$/m);
  t.equal((await run('install', 'pg@.service', 'tls', '--shared')).status, 0);
  t.match(dropIn(), /^LoadCredentialEncrypted=tls:\/run\/fetch-luks-key\/encrypted\.sock$/m);
  t.match(dropIn(), /^After=fetch-luks-key-encrypted\.socket$/m);
  mkdirSync(`${etc}/credentials.encrypted/pg@.service`, { recursive: true });
  writeFileSync(`${etc}/credentials.encrypted/pg@.service/tls.jwe`, '');
  t.equal((await run('install', 'pg@.service', 'tls')).status, 0);
  t.match(dropIn(), /^LoadCredentialEncrypted=/m, 'as it was sealed');

  t.equal((await sealAs(etc, 'pg@.service/tls', 'secret')).status, 0, 'takes the place of the other');
  t.equal((await run('install', 'pg@.service', 'tls')).status, 0);
  t.match(dropIn(), /^LoadCredential=/m);
  t.equal((await sealAs(etc, 'a.service/x', 'secret')).status, 0);
  const right = await run('list');
  t.equal(right.status, 0);
  t.equal(
    right.stdout,
    `a.service/x: tang ${tang.url}, no drop-in asks for it\npg@.service/tls: tang ${tang.url}\n`,
  );
  writeFileSync(`${etc}/credentials/a.service/y.jwe`, 'a.b.c.d');
  const broken = await run('list', '--json');
  t.equal(broken.status, 6);
  t.match(JSON.parse(broken.stdout), {
    credentials: [
      { unit: 'a.service', credential: 'x', 'opens-by': `tang ${tang.url}`, installed: false, problem: null },
      { credential: 'y', 'opens-by': null, problem: /five parts/ },
      { unit: 'pg@.service', credential: 'tls', installed: true },
    ],
  });
  for (const args of [
    ['install', 'pg', 'x'],
    ['install', 'pg.service'],
    ['install', 'pg.service', 'x', 'tang', '{}'],
    ['install', 'pg.service', 'x', '--json'],
    ['rotate', 'pg.service'],
    ['rotate', 'pg.service', 'x', 'tang'],
    ['edit', 'pg.service', 'x', '--shared'],
    ['list', '--encrypted'],
    ['steal'],
    ['list', 'x'],
  ])
    t.equal((await run(...args)).status, 2, args.join(' '));
});
