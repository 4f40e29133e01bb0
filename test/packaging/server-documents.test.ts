import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import t from 'tap';
import { defaultKeyServerConfig } from '../../src/config/key-server.ts';
import { parseKeyServerConfig } from '../../src/config/key-server-parse.ts';
import { KEY_SERVER } from '../support/key-server.ts';
import { run } from '../support/run.ts';
import { commandsOf, optionsOf } from './help.ts';

const page = resolve(import.meta.dirname, '../../docs/man/luks-key-server.yaml.5');
const environment = { PATH: '/usr/bin:/bin', MANWIDTH: '200', MANPAGER: 'cat', LC_ALL: 'C.UTF-8' };
const { stdout: text, stderr: warnings } = spawnSync('man', ['--warnings', '--local-file', page], {
  encoding: 'utf8',
  env: environment,
});

/** What an unknown key among `keys` is told: all that are known there. */
function known(yaml: string): string[] {
  try {
    parseKeyServerConfig(yaml, 'config.yaml');
  } catch (thrown) {
    const [, listed = ''] = /one of the keys (.*), got/.exec(String(thrown)) ?? [];
    return listed.split(', ');
  }
  throw new Error(`taken: ${yaml}`);
}

t.test('the manual explains every command, option and exit status', async (t) => {
  const { stdout: manual, stderr } = spawnSync(
    'man',
    ['--warnings', '--local-file', page.replace('.yaml.5', '.1')],
    {
      encoding: 'utf8',
      env: environment,
    },
  );
  t.equal(stderr, '');
  const isTag = (tag: string) =>
    new RegExp(`^ +([\\w-]+, )*${tag.replace(/^--/, '(-\\w, )?--')}(\\W|$)`, 'm').test(manual);
  const help = async (...args: string[]) =>
    (await run([...KEY_SERVER, ...args, '--help'], Buffer.alloc(0), {})).stdout.toString();
  const commands = commandsOf(await help());
  t.ok(commands.length > 12, 'there are commands');
  for (const command of commands) {
    t.ok(isTag(command), command);
    for (const option of optionsOf(await help(command))) t.ok(isTag(option), `${command} ${option}`);
  }
  t.notOk(isTag('--no-such-option'));
  const [, statuses = ''] = /^EXIT STATUS$([\s\S]*?)^[A-Z]/m.exec(manual) ?? [];
  for (const status of '0123456') t.match(statuses, new RegExp(`^ +${status} `, 'm'));
});

t.test("the manual of the server's config.yaml explains every key", (t) => {
  t.equal(warnings, '');
  const top = known('no-such-key: 1');
  t.strictSame(top.toSorted(), Object.keys(defaultKeyServerConfig).toSorted());
  const below = ['tang: { x: 1 }', 'metrics: { x: 1 }', 'webhooks: [ { x: 1 } ]'].flatMap(known);
  t.ok(below.includes('certificate') && below.includes('secret'), below.join());
  for (const key of [...top, ...below]) t.match(text, new RegExp(`^ +([\\w-]+, )*${key}(\\W|$)`, 'm'), key);
  t.notMatch(text, /^ +no-such-key/m);
  t.end();
});

t.test('its example is one', (t) => {
  const [, example = ''] = /^EXAMPLES$([\s\S]*?)^[A-Z]/m.exec(text) ?? [];
  t.match(parseKeyServerConfig(example, 'example'), {
    store: /^file:/,
    metrics: { listen: { port: 9743 } },
    webhooks: [{ secret: /^\/run/ }],
  });
  t.end();
});
