import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import t from 'tap';
import { readConfig } from '../../src/config/parse.ts';
import { serverFields } from '../../src/config/server.ts';
import { siteFields } from '../../src/config/site.ts';
import { volumeFields } from '../../src/config/volume.ts';
import { pinNames } from '../../src/pins/pin.ts';
import { fetchLuksKey } from '../support/command-line.ts';
import { commandsOf, optionsOf } from './help.ts';

const root = resolve(import.meta.dirname, '../..');

function manual(name: string): { text: string; warnings: string } {
  const { stdout, stderr } = spawnSync('man', ['--warnings', '--local-file', join(root, 'docs/man', name)], {
    encoding: 'utf8',
    env: { PATH: '/usr/bin:/bin', MANWIDTH: '200', MANPAGER: 'cat', LC_ALL: 'C.UTF-8' },
  });
  return { text: stdout, warnings: stderr };
}

/** Tags of a list: what begins a line by itself, indented. */
const isTag = (text: string, tag: string) =>
  new RegExp(`^ +([\\w-]+, )*${tag.replace(/^--/, '(-\\w, )?--')}(\\W|$)`, 'm').test(text);

t.test('the manual explains every command and option', async (t) => {
  const { text, warnings } = manual('fetch-luks-key.1');
  t.equal(warnings, '');
  const commands = commandsOf((await fetchLuksKey(['--help'])).stdout);
  t.ok(commands.length > 4, 'there are commands');
  for (const command of commands) {
    t.ok(isTag(text, command), command);
    const { stdout } = await fetchLuksKey([command, '--help']);
    const options = optionsOf(stdout);
    t.ok(options.length > 0, `${command} has options`);
    for (const option of options) t.ok(isTag(text, option), `${command} ${option}`);
  }
  for (const pin of pinNames) t.ok(isTag(text, pin), `seal ${pin}`);
  t.notOk(isTag(text, '--no-such-option'));
});

t.test('the manual explains every exit status', async (t) => {
  const { text } = manual('fetch-luks-key.1');
  const [, statuses = ''] = /^EXIT STATUS$([\s\S]*?)^[A-Z]/m.exec(text) ?? [];
  for (const status of ['0', '1', '2', '3', '4', '5', '6'])
    t.match(statuses, new RegExp(`^ +${status} `, 'm'));
  t.end();
});

t.test('the manual of config.yaml explains every key', (t) => {
  const { text, warnings } = manual('fetch-luks-key.yaml.5');
  t.equal(warnings, '');
  // What it says of a key that it does not know names all that it knows.
  const [problem] = readConfig('no-such-key: 1').problems;
  const [, listed = ''] = /one of the keys (.*), got/.exec(problem?.message ?? '') ?? [];
  const sections = listed.split(', ');
  t.ok(sections.includes('volumes'), listed);
  for (const key of [...sections, ...volumeFields, ...serverFields, ...siteFields])
    t.ok(isTag(text, key), key);
  t.notOk(isTag(text, 'no-such-key'));
  t.end();
});

t.test('the example in the manual of config.yaml is one', (t) => {
  const { text } = manual('fetch-luks-key.yaml.5');
  const [, example = ''] = /^EXAMPLES$([\s\S]*?)^[A-Z]/m.exec(text) ?? [];
  t.match(example, /^ +volumes:$/m);
  t.strictSame(readConfig(example).problems, []);
  t.end();
});
