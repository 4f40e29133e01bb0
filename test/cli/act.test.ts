import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';

t.test('does what is configured, in its order, and goes on after a failure', async (t) => {
  const folder = t.testdir({});
  const note = (word: string) => `{ run: [/bin/sh, -c, 'echo ${word} >> ${folder}/done'] }`;
  const config = `on-locked: [${note('one')}, { run: [/bin/false] }, { run: [/no/such/program] }, suspend, ${note('two')}]\n`;
  const etc = t.testdir({
    'config.yaml': config,
    crypttab: 'data /dev/null /run/fetch-luks-key/default.sock luks\n',
  });
  const act = (verdict: string) =>
    fetchLuksKey(['act', verdict, '--etc', etc, '--crypttab', `${etc}/crypttab`]);
  const { status, stdout, stderr } = await act('locked');
  t.equal(status, 5);
  t.equal(stdout, '');
  t.match(stderr, /<3>\/bin\/false: exit status 1/);
  t.match(stderr, /<3>\/no\/such\/program: .*ENOENT/);
  t.notMatch(stderr, /cryptsetup/, 'a volume that is not open is left alone');
  t.equal(readFileSync(`${etc}/done`, 'utf8'), 'one\ntwo\n');
  t.same(await act('revoked'), { status: 0, stdout: '', stderr: '' }, 'nothing, unless it is said');
  fails(t, 'no verdict', await act('armed'), 2, /^act: expected locked or revoked, got "armed"/);
  t.ok(existsSync(folder));
});

/** As cryptsetup says it; there is no device mapper here. */
const SUSPENDED = `on-revoked: [{ run: [/bin/sh, -c, 'echo Volume data is already suspended. >&2; exit 1'] }]\n`;

t.test('what is suspended already is no failure', async (t) => {
  const etc = t.testdir({ 'config.yaml': SUSPENDED, crypttab: '' });
  const args = ['act', 'revoked', '--etc', etc, '--crypttab', `${etc}/crypttab`];
  t.match(await fetchLuksKey(args), { status: 0, stderr: /^<6>\/bin\/sh .*: done before$/m });
  const { stdout: script } = await fetchLuksKey([...args, '--script']);
  writeFileSync(`${etc}/script`, script);
  for (const source of ['config.yaml', 'crypttab']) utimesSync(`${etc}/${source}`, 1000, 1000);
  const ran = spawnSync('/bin/sh', [`${etc}/script`], { encoding: 'utf8' });
  t.match(ran, { status: 0, stdout: /^<6>\/bin\/sh .*: done before$/m });
});

t.test('as a script: the same, sooner; anew when the configuration is newer', async (t) => {
  const folder = t.testdir({});
  const odd = `${folder}/it's "$HOME" \\`;
  const etc = t.testdir({
    'config.yaml': `on-revoked:
  - run: [/usr/bin/touch, ${JSON.stringify(odd)}]
  - run: [/bin/false]
  - suspend
  - run: [/no/such/program]
  - run: [/bin/sh, -c, 'echo first >&2; echo last >&2; exit 3']
  - run: [/usr/bin/touch, ${folder}/end]
`,
    crypttab: 'data /dev/null /run/fetch-luks-key/default.sock luks\nother /dev/null none luks\n',
  });
  const args = ['act', 'revoked', '--etc', etc, '--crypttab', `${etc}/crypttab`];
  const { stdout: script } = await fetchLuksKey([...args, '--script']);
  t.match(
    script,
    /^\[ ! -e '\/dev\/mapper\/data' \] \|\| .* '\/usr\/sbin\/cryptsetup' 'luksSuspend' 'data'$/m,
  );
  t.notMatch(script, /other/, 'not ours');
  t.notOk(existsSync(odd), 'nothing was done yet');

  const file = `${folder}/script`;
  writeFileSync(file, script);
  for (const source of ['config.yaml', 'crypttab']) utimesSync(`${etc}/${source}`, 1000, 1000);
  const ran = spawnSync('/bin/sh', [file], { encoding: 'utf8' });
  t.equal(ran.status, 5);
  t.ok(existsSync(odd) && existsSync(`${folder}/end`));
  t.match(ran.stdout.split('\n'), [
    /^<6>\/usr\/bin\/touch .*: done$/,
    /^<3>\/bin\/false: exit status 1: $/,
    /^<3>\/no\/such\/program: exit status 127: .*No such file/,
    /^<3>\/bin\/sh -c .*: exit status 3: last$/,
    /^<6>.*\/end: done$/,
    '',
  ]);

  utimesSync(`${etc}/crypttab`, new Date(), new Date(Date.now() + 1000));
  const stale = spawnSync('/bin/sh', ['-x', file], { encoding: 'utf8' });
  t.match(stale.stderr, /^\+ exec \/usr\/bin\/fetch-luks-key act revoked --etc /m);
});
