import { copyFileSync } from 'node:fs';
import t from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { startKeyServer } from '../support/key-server.ts';
import { setStage } from '../support/stage.ts';

t.setTimeout(300_000);

t.test('a secret that a key server guards: rotated, the server deletes the key of the old one', async (t) => {
  const server = await startKeyServer(t);
  const stage = await setStage(t, { standardInput: true });
  const run = (args: string[], input = '') => fetchLuksKey([...args, '--etc', stage.etc], input);
  const joined = await run(['join', '--name', 'home'], await server.invite('nas'));
  t.equal(joined.status, 0, joined.stderr);
  const name = 'web.service/password';
  const sealed = await run(['seal', '--credential', name, 'remote', '{"server": "home"}'], 'open sesame');
  t.equal(sealed.status, 0, sealed.stderr);
  const path = `${stage.etc}/credentials/${name}.jwe`;
  const gets = {
    status: 0,
    line: /key delivered, opened by remote home/,
    gets: Buffer.from('open sesame'),
  } as const;
  const address = Buffer.from(`\x001a/unit/${name}`);
  await stage.shows(t, 'sealed', address, gets);

  copyFileSync(path, `${stage.etc}/old.jwe`);
  const rotated = await run(['credential', 'rotate', 'web.service', 'password']);
  t.strictSame([rotated.status, rotated.stderr], [0, '']);
  t.match(rotated.stdout, /^rotated web\.service\/password: remote .*, proven to open$/m);
  await stage.shows(t, 'rotated', address, gets);
  const old = await run(['open', `${stage.etc}/old.jwe`]);
  t.equal(old.status, 4, 'the old one opens no more');
  t.equal(old.stdout, '');

  await server.stop();
  fails(
    t,
    'away',
    await run(['credential', 'rotate', 'web.service', 'password']),
    5,
    /password\.jwe: remote home/,
  );
  await server.start();
  await stage.shows(t, 'as it was', address, gets);
});
