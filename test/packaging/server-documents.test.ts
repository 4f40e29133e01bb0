import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import t from 'tap';
import { defaultKeyServerConfig } from '../../src/config/key-server.ts';
import { parseKeyServerConfig } from '../../src/config/key-server-parse.ts';

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
