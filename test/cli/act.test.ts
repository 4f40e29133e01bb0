import { existsSync, readFileSync } from 'node:fs';
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
