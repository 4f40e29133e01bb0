import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { serverFields } from '../../src/config/server.ts';
import { volumeFields } from '../../src/config/volume.ts';
import { fetchLuksKey } from '../support/command-line.ts';

const root = resolve(import.meta.dirname, '../..');
const manual = (name: string) => {
  const { stdout, stderr } = spawnSync('man', ['--warnings', '--local-file', join(root, 'docs/man', name)], {
    encoding: 'utf8',
    env: { PATH: '/usr/bin:/bin', MANWIDTH: '200', MANPAGER: 'cat', LC_ALL: 'C.UTF-8' },
  });
  return { text: stdout, warnings: stderr };
};
const commands = ['handle', 'seal', 'open', 'request', 'check'];

/** The options that `--help` explains: a line that begins with one. */
async function optionsOf(command: string): Promise<string[]> {
  const { stdout } = await fetchLuksKey([command, '--help']);
  return [...stdout.matchAll(/^ {2}(?:-\w, | {4})?(--[a-z-]+)/gm)].map(([, option = '']) => option);
}

t.test('the manual names every command and option', async (t) => {
  const { text, warnings } = manual('fetch-luks-key.1');
  t.equal(warnings, '');
  const { stdout } = await fetchLuksKey(['--help']);
  const known = [...stdout.matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map(([, name = '']) => name);
  t.strictSame(known, commands, 'this test knows them all');
  for (const command of commands) {
    t.match(text, new RegExp(`^ +${command}\\b`, 'm'));
    const options = await optionsOf(command);
    t.ok(options.length > 0, `${command} has options`);
    for (const option of options) t.ok(text.includes(option), `${command} ${option}`);
  }
});

t.test('the manual of config.yaml names every key', (t) => {
  const { text, warnings } = manual('fetch-luks-key.yaml.5');
  t.equal(warnings, '');
  for (const key of [...volumeFields, ...serverFields, 'volumes', 'servers', 'on-revoked', 'on-locked']) {
    t.match(text, new RegExp(`(^|[ ,])${key}\\b`, 'm'), key);
  }
  t.end();
});

/** What bash offers for a command line, the last word of which is begun. */
function bashOffers(...words: string[]): string[] {
  const script = `source "$1"; shift
COMP_WORDS=(fetch-luks-key "$@"); COMP_CWORD=$#
_fetch_luks_key; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const file = join(root, 'packaging/completion/fetch-luks-key.bash');
  return execFileSync('bash', ['-c', script, 'bash', file, ...words], { encoding: 'utf8' })
    .split('\n')
    .slice(0, -1);
}

/** The same of fish. */
function fishOffers(...words: string[]): string[] {
  const file = join(root, 'packaging/completion/fetch-luks-key.fish');
  const line = `source ${file}; complete -C 'fetch-luks-key ${words.join(' ')}'`;
  const output = execFileSync('fish', ['--no-config', '-c', line], { encoding: 'utf8' });
  return output.split('\n').flatMap((offer) => offer.split('\t')[0] || []);
}

for (const [shell, offers] of Object.entries({ bash: bashOffers, fish: fishOffers })) {
  t.test(`${shell} completes commands, options and pins`, async (t) => {
    const names = offers('');
    for (const command of commands) t.ok(names.includes(command), command);
    t.strictSame(offers('re'), ['request']);
    for (const command of commands) {
      const offered = offers(command, '--');
      for (const option of await optionsOf(command)) t.ok(offered.includes(option), `${command} ${option}`);
    }
    t.strictSame(offers('seal', 't').toSorted(), ['tang', 'tpm2']);
  });
}

t.test('zsh reads its completion, which names every option', async (t) => {
  const file = join(root, 'packaging/completion/_fetch-luks-key');
  execFileSync('zsh', ['-n', file]);
  const text = readFileSync(file, 'utf8');
  for (const command of commands) {
    t.ok(text.includes(`${command}:`) && text.includes(`${command})`), command);
    for (const option of await optionsOf(command)) t.ok(text.includes(option), `${command} ${option}`);
  }
});
