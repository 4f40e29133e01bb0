import { readFileSync } from 'node:fs';
import t from 'tap';
import { defaultKeyServerConfig, loadKeyServerConfig } from '../../src/config/key-server.ts';
import { parseKeyServerConfig } from '../../src/config/key-server-parse.ts';
import { files } from '../../src/os/files.ts';

t.test('every field', (t) => {
  const text = `
listen: 192.0.2.1:443
state: /srv/keys
store: file:/run/credentials/luks-key-server.service/store
socket: /run/keys.sock
identity: /etc/identity.pem
tang: { listen: '[2001:db8::1]:7444', certificate: /etc/tang.pem, key: /etc/tang.key }
metrics: { listen: localhost:9743 }
webhooks:
  - { url: https://alerts.example/hook?for=us, secret: /etc/hook }
  - { url: 'http://[::1]:8080/', secret: /etc/other }
`;
  t.strictSame(parseKeyServerConfig(text, 'config.yaml'), {
    listen: { host: '192.0.2.1', port: 443 },
    state: '/srv/keys',
    store: 'file:/run/credentials/luks-key-server.service/store',
    socket: '/run/keys.sock',
    identity: '/etc/identity.pem',
    tang: { listen: { host: '2001:db8::1', port: 7444 }, certificate: '/etc/tang.pem', key: '/etc/tang.key' },
    metrics: { listen: { host: 'localhost', port: 9743 } },
    webhooks: [
      { url: new URL('https://alerts.example/hook?for=us'), secret: '/etc/hook' },
      { url: new URL('http://[::1]:8080/'), secret: '/etc/other' },
    ],
  });
  t.end();
});

t.test('where it says nothing', (t) => {
  for (const text of ['', '# nothing\n', '{}']) {
    t.strictSame(parseKeyServerConfig(text, 'config.yaml'), defaultKeyServerConfig, JSON.stringify(text));
  }
  const { state, listen } = parseKeyServerConfig('state: /srv/keys', 'config.yaml');
  t.strictSame({ state, listen }, { state: '/srv/keys', listen: { host: '::', port: 7443 } });
  t.end();
});

t.test('stores', (t) => {
  for (const store of [
    '/srv/keys.db',
    'postgres:///keys?host=/run/postgresql',
    'postgresql://keys@db.example/keys',
  ])
    t.equal(parseKeyServerConfig(JSON.stringify({ store }), 'c').store, store);
  t.end();
});

/** What is wrong in a file, as it is told. */
const wrong: Record<string, [text: string, said: RegExp]> = {
  'unknown key': [
    'state: /a\nlistn: a:1',
    /^c:2: listn: expected one of the keys listen, state, .*, got "listn"$/,
  ],
  'unknown key below': [
    "tang:\n  listen: 'a:1'\n  port: 1\n  certificate: /c\n  key: /k",
    /^c:3: tang\.port: expected one of/,
  ],
  'unknown key in a list': [
    'webhooks:\n  - url: https://a/\n    secret: /s\n    method: PUT',
    /^c:4: webhooks\[0\]\.method: /,
  ],
  'no port': ['listen: 192.0.2.1', /^c:1: listen: expected an address with its port .*, got "192\.0\.2\.1"$/],
  'a number': ['listen: 7443', /^c:1: listen: expected an address with its port .*, got 7443$/],
  'port out of range': ["listen: '[::]:65536'", /^c:1: listen: /],
  'relative path': ['state: keys', /^c:1: state: expected an absolute path, got "keys"$/],
  'store of another kind': [
    'store: mysql://a/b',
    /^c:1: store: expected an absolute path, file: .*, got "mysql:/,
  ],
  'password of the store': [
    'store: postgres://keys:s3cr3t@a/b',
    /^c:1: store: expected .* without a password, got "postgres:\/\/…@a\/b"$/,
  ],
  'password of the store, elsewhere': [
    'store: postgres://a/b?password=s3cr3t',
    /, got "postgres:\/\/a\/b\?…"$/,
  ],
  'half a Tang face': [
    "tang: { listen: 'a:1', key: /k }",
    /^c:1: tang\.certificate: expected an absolute path, got nothing$/,
  ],
  'metrics of another shape': ["metrics: 'a:1'", /^c:1: metrics: expected a map, got "a:1"$/],
  'one webhook, not in a list': [
    'webhooks: { url: https://a/ }',
    /^c:1: webhooks: expected a list of .*, got a map$/,
  ],
  'webhook in clear': [
    'webhooks: [ { url: http://alerts.example/, secret: /s } ]',
    /^c:1: webhooks\[0\]\.url: expected an https/,
  ],
  'webhook without secret': [
    'webhooks: [ { url: https://a/ } ]',
    /^c:1: webhooks\[0\]\.secret: .*, got nothing$/,
  ],
  'the secret itself': [
    'webhooks: [ { url: https://a/, secret: aGVsbG8 } ]',
    /^c:1: webhooks\[0\]\.secret: expected an absolute path/,
  ],
  'password of a webhook': ['webhooks: [ { url: https://a:b@c/, secret: /s } ]', /got "https:\/\/…@c\/"$/],
  'twice wrong': ['listen: 1\nstate: 2', /^c:1: listen: .* \(and 1 more\)$/],
  'no YAML': ['listen: [', /^c:\d+: column \d+: expected YAML/],
};

t.test('what is wrong names file and line', (t) => {
  for (const [name, [text, message]] of Object.entries(wrong)) {
    t.throws(() => parseKeyServerConfig(text, 'c'), { code: 'bad-config', message }, name);
  }
  t.end();
});

t.test('a file', async (t) => {
  const folder = t.testdir({ 'config.yaml': 'listen: 127.0.0.1:1\n', wrong: 'listn: 1' });
  t.strictSame((await loadKeyServerConfig(files, `${folder}/config.yaml`))?.listen, {
    host: '127.0.0.1',
    port: 1,
  });
  t.equal(await loadKeyServerConfig(files, `${folder}/none`), null);
  await t.rejects(loadKeyServerConfig(files, `${folder}/wrong`), { message: `${folder}/wrong:1: listn: ` });
});

t.test('the commented example is valid as it is, and with every comment taken away', (t) => {
  const text = readFileSync(new URL('../../etc/luks-key-server.yaml.example', import.meta.url), 'utf8');
  t.strictSame(parseKeyServerConfig(text, 'example'), defaultKeyServerConfig);
  const config = parseKeyServerConfig(text.replaceAll(/^#( *(?:- |[a-z-]+:))/gm, '$1'), 'example');
  const { listen, state, socket } = defaultKeyServerConfig;
  t.match(config, { listen, state, socket }, 'it shows the defaults');
  t.ok(
    Object.values(config).every((value) => value !== null),
    'and every key',
  );
  t.equal(config.webhooks.length, 1);
  t.end();
});
