import { readFileSync } from 'node:fs';
import t from 'tap';
import { volumeName } from '../../src/base/names.ts';
import { settingsFor } from '../../src/config/config.ts';
import { parseConfig, readConfig } from '../../src/config/parse.ts';

const data = volumeName('data');
const PIN = Buffer.alloc(32, 7);

t.test('every field', (t) => {
  const config = parseConfig(
    `volumes:
  data:
    url: https://keys.example/data.key
    ca: /etc/ca.pem
    client-certificate: /etc/cert.pem
    client-key: /etc/key.pem
    max-size: 64KiB
    give-up-after: 5m
    wait-for-allow: 1h
    allow: [tpm2, tang]
    allow-tang: [http://tang.example/, "tang2.example:7500"]
  pinned: { url: "https://10.0.0.1/k", pin: sha256/${PIN.toString('base64url')} }
  open: { url: http://10.0.0.1/k, allow-plaintext: true, give-up-after: 0 }
`,
    'config.yaml',
  );
  t.strictSame(settingsFor(config, data), {
    url: {
      url: new URL('https://keys.example/data.key'),
      ca: '/etc/ca.pem',
      pinSha256: null,
      client: { certificate: '/etc/cert.pem', key: '/etc/key.pem' },
      maxBodyBytes: 65_536,
    },
    giveUpAfterMs: 300_000,
    waitForAllowMs: 3_600_000,
    allow: ['tpm2', 'tang'],
    allowTang: ['http://tang.example', 'http://tang2.example:7500'],
  });
  t.strictSame(settingsFor(config, volumeName('pinned')).url?.pinSha256, PIN);
  t.equal(settingsFor(config, volumeName('open')).url?.url.href, 'http://10.0.0.1/k');
  t.equal(settingsFor(config, volumeName('open')).giveUpAfterMs, 0);
  t.end();
});

t.test('defaults', (t) => {
  for (const text of ['', '# nothing\n', '---\n', 'volumes: {}', 'volumes: { data: {} }']) {
    t.strictSame(
      settingsFor(parseConfig(text, 'config.yaml'), data),
      { url: null, giveUpAfterMs: 90_000, waitForAllowMs: 600_000, allow: null, allowTang: null },
      JSON.stringify(text),
    );
  }
  const { url } = settingsFor(parseConfig('volumes: { data: { url: "https://a/" } }', 'c'), data);
  t.strictSame(url, {
    url: new URL('https://a/'),
    ca: null,
    pinSha256: null,
    client: null,
    maxBodyBytes: 8192,
  });
  t.end();
});

/** What is wrong in one volume's fields, as `line message`. */
const wrongFields: Record<string, [fields: string, said: string | RegExp]> = {
  'unknown key': [
    'urll: https://a/',
    /^3 volumes\.data\.urll: expected one of the keys url, ca, .*, got "urll"$/,
  ],
  'unknown key that every object has': [
    'constructor: 1',
    /^3 volumes\.data\.constructor: expected one of the keys/,
  ],
  'unknown key __proto__': ['__proto__: { url: 1 }', /^3 volumes\.data\.__proto__: expected one of the keys/],
  'merge key': ['<<: {}', /^3 volumes\.data\["<<"\]: expected one of the keys/],
  'duration without unit': [
    'give-up-after: 90',
    '3 volumes.data.give-up-after: expected a duration with its unit (250ms, 90s, 5m, 2h, 1d), or 0 for no end, got 90',
  ],
  nothing: ['give-up-after:', /^3 volumes\.data\.give-up-after: expected a duration .* got nothing$/],
  'size without unit': [
    'url: https://a/\n    max-size: 64',
    '4 volumes.data.max-size: expected a size with its unit (512B, 16KiB) from 1B to 64KiB, got 64',
  ],
  'size too large': ['url: https://a/\n    max-size: 2MiB', /^4 volumes\.data\.max-size: .* got "2MiB"$/],
  'relative path': [
    'url: https://a/\n    ca: ca.pem',
    '4 volumes.data.ca: expected an absolute path, got "ca.pem"',
  ],
  'not a URL': ['url: keys.example/a', /^3 volumes\.data\.url: expected an http.*, got "keys\.example\/a"$/],
  'another protocol': ['url: file:///etc/shadow', /^3 volumes\.data\.url: .* got "file:/],
  'password in the URL': [
    'url: https://me:s3cr3t@a/',
    /^3 volumes\.data\.url: .* without user name and password, got "https:\/\/…@a\/"$/,
  ],
  http: [
    'url: http://a/',
    '3 volumes.data.url: expected https://, or allow-plaintext: true beside it, got http://',
  ],
  'http, denied': ['url: http://a/\n    allow-plaintext: false', /^3 volumes\.data\.url: expected https/],
  'http and pin': [
    `url: http://a/\n    allow-plaintext: true\n    pin: sha256/${PIN.toString('base64url')}`,
    '5 volumes.data.pin: expected a url with https://, got http://',
  ],
  'certificate without key': [
    'url: https://a/\n    client-certificate: /c',
    '4 volumes.data.client-certificate: expected client-key beside it, got none',
  ],
  'key without certificate': [
    'url: https://a/\n    client-key: /k',
    '4 volumes.data.client-key: expected client-certificate beside it, got none',
  ],
  'ca and pin': [
    `url: https://a/\n    ca: /c\n    pin: sha256/${PIN.toString('base64url')}`,
    '4 volumes.data.ca: expected ca or pin, as with a pinned key the key alone decides, got both',
  ],
  'pin of another hash': [
    'url: https://a/\n    pin: sha1/AAAA',
    /^4 volumes\.data\.pin: expected sha256\/ and 43 characters/,
  ],
  'pin with stray bits': [
    `url: https://a/\n    pin: sha256/${'A'.repeat(42)}B`,
    /^4 volumes\.data\.pin: expected sha256/,
  ],
  'unknown pin': [
    'allow: [tpm2, tpm3]',
    '3 volumes.data.allow[1]: expected one of tpm2, tang, remote, systemd-creds, parsec, got "tpm3"',
  ],
  'sss listed': [
    'allow: [sss]',
    '3 volumes.data.allow[0]: expected one of tpm2, tang, remote, systemd-creds, parsec, got "sss"',
  ],
  'empty list': [
    'allow: []',
    '3 volumes.data.allow: expected a list of tpm2, tang, remote, systemd-creds, parsec, got a list',
  ],
  'no list': [
    'allow: tpm2',
    '3 volumes.data.allow: expected a list of tpm2, tang, remote, systemd-creds, parsec, got "tpm2"',
  ],
  'Tang by another protocol': [
    'allow-tang: [ "ftp://a" ]',
    /^3 volumes\.data\.allow-tang\[0\]: expected an http/,
  ],
  'text for a boolean': [
    'url: https://a/\n    allow-plaintext: yes',
    '4 volumes.data.allow-plaintext: expected true or false, got "yes"',
  ],
  'duplicate key': [
    'url: https://a/\n    give-up-after: 5m\n    url: https://b/',
    '5 volumes.data.url: expected this key once, got it again',
  ],
  'not a map': ['- url', /volumes\.data: expected a map, got a list$/],
};

t.test('wrong fields', (t) => {
  for (const [name, [fields, said]] of Object.entries(wrongFields)) {
    const { config, problems } = readConfig(`volumes:\n  data:\n    ${fields}\n`);
    t.equal(config, null, name);
    const lines = problems.map((problem) => `${problem.line} ${problem.message}`);
    t.match(lines, [said], name);
    t.equal(problems.length, 1, `${name}: nothing else`);
  }
  t.end();
});

t.test('fields that need url', (t) => {
  const { problems } = readConfig(`volumes:
  data:
    ca: /c
    allow-plaintext: true
    max-size: 1B
`);
  t.strictSame(
    problems.map(({ line, message }) => `${line} ${message}`),
    [
      '3 volumes.data.ca: expected url beside it, got none',
      '4 volumes.data.allow-plaintext: expected url beside it, got none',
      '5 volumes.data.max-size: expected url beside it, got none',
    ],
  );
  t.end();
});

t.test('the file as a whole', (t) => {
  const wrong: Record<string, RegExp> = {
    'volume: {}':
      /^1 volume: expected one of the keys servers, site, volumes, sockets, on-revoked, on-locked, protect-with-tpm, protection, got "volume"$/,
    'volumes:\n': /^1 volumes: expected a map, got nothing$/,
    '- a': /^1 expected a map, got a list$/,
    'volumes: { "a/b": {} }': /^1 volumes\["a\/b"\]: volume name "a\/b": expected 1 to 78 bytes/,
    'volumes: { data: }': /^1 volumes\.data: expected a map, got nothing$/,
    'volumes: { [a]: {} }': /^1 column \d+: expected YAML, got .*: /,
    'volumes: {\n': /^2 column 1: expected YAML, got "": /,
    'volumes:\n\tdata: 1': /^2 column 1: expected YAML, got "\\tdata: 1": tabs/,
    'volumes: !x {}': /^1 column 10: expected YAML, got "!x {}": unresolved tag/,
    '{}\n---\n{}': /^2 column 1: expected YAML, .*: source contains multiple documents/,
    'a: *b': /^1 expected at most 100 aliases, each after its anchor: .*b/,
  };
  for (const [text, said] of Object.entries(wrong)) {
    const { problems } = readConfig(text);
    t.match(
      problems.map(({ line, message }) => `${line} ${message}`),
      [said],
      JSON.stringify(text),
    );
    t.equal(problems.length, 1, 'nothing else');
  }
  t.end();
});

t.test('servers', (t) => {
  const pin = `sha256/${PIN.toString('base64url')}`;
  const wanted = `{ url: "https://keys.example:7443", pin: ${pin}, identity: /etc/id.cred }`;
  const { servers } = parseConfig(`servers: { home: ${wanted} }`, 'c');
  t.strictSame(servers.get('home'), {
    url: new URL('https://keys.example:7443'),
    identity: '/etc/id.cred',
    pinSha256: PIN,
    keys: { names: [PIN], accepted: [PIN], chain: [] },
  });
  const wrong: Record<string, RegExp> = {
    [`a/b: ${wanted}`]: /^1 servers\["a\/b"\]: expected a name of letters/,
    [`home: { url: "http://a", pin: ${pin}, identity: /i }`]: /^1 servers\.home\.url: expected an https/,
    [`home: { url: "https://a/b", pin: ${pin}, identity: /i }`]: /^1 servers\.home\.url: .* without path/,
    [`home: { url: "https://a", identity: /i }`]: /^1 servers\.home\.pin: expected sha256\//,
    [`home: { url: "https://a", pin: ${pin}, identity: i }`]: /^1 servers\.home\.identity: expected an abs/,
    [`home: { url: "https://a", pin: ${pin}, identity: /i, ca: /c }`]:
      /^1 servers\.home\.ca: expected one of/,
    home: /^1 servers\.home: expected a map/,
  };
  for (const [text, said] of Object.entries(wrong)) {
    const { problems } = readConfig(`servers: { ${text} }`);
    t.match(
      problems.map(({ line, message }) => `${line} ${message}`),
      [said],
      text,
    );
    t.equal(problems.length, 1, 'nothing else');
  }
  t.end();
});

t.test('what is done when revoked, and when locked', (t) => {
  const text = 'on-revoked: [suspend, { run: [/bin/a, b] }, poweroff]\non-locked: [close]';
  const { onRevoked, onLocked } = parseConfig(text, 'c');
  t.strictSame(onRevoked, ['suspend', { run: ['/bin/a', 'b'] }, 'poweroff']);
  t.strictSame(onLocked, ['close']);
  t.strictSame(parseConfig('', 'c').onRevoked, [], 'nothing, unless it is said');
  for (const wrong of ['suspend', '[]', '[sleep]', '[{ run: [] }]', '[{ run: [a] }]', '[{ run: /bin/a }]']) {
    const { problems } = readConfig(`on-revoked: ${wrong}`);
    t.match(problems, [{ message: /^on-revoked.*: expected / }], wrong);
    t.equal(problems.length, 1, 'nothing else');
  }
  t.end();
});

t.test('names are text: 0123 is not 123', (t) => {
  const config = parseConfig('volumes: { 0123: { give-up-after: 1s }, true: { give-up-after: 2s } }', 'c');
  t.strictSame([...config.volumes.keys()], ['0123', 'true']);
  t.end();
});

t.test('aliases', (t) => {
  const shared = parseConfig(
    `volumes:
  a: &a { give-up-after: 1s }
  data: *a
`,
    'c',
  );
  t.equal(settingsFor(shared, data).giveUpAfterMs, 1000, 'one is fine');
  const { problems } = readConfig('volumes:\n  a: &a { give-up-after: 1 }\n  b: *a\n');
  t.match(problems, [
    { line: 2, message: /^volumes\.a\.give-up-after: / },
    { line: 3, message: /^volumes\.b\.give-up-after: / },
  ]);
  const bomb = ['a0: &a0 [x,x,x,x,x,x,x,x,x]'];
  for (let i = 1; i < 10; i++)
    bomb.push(
      `a${i}: &a${i} [${Array(9)
        .fill(`*a${i - 1}`)
        .join(',')}]`,
    );
  t.match(readConfig(bomb.join('\n')).problems, [
    { line: 1, message: /^expected at most 100 aliases, each after its anchor: excessive/ },
  ]);
  t.end();
});

t.test('too deep a nesting is an error and not a crash', (t) => {
  const { config, problems } = readConfig(`volumes: ${'['.repeat(200_000)}`);
  t.equal(config, null);
  t.ok(problems.length > 0);
  t.end();
});

t.test('all problems at once, in the order of the lines', (t) => {
  const text = `volumes:
  b: { url: "http://a/", give-up-after: 5, nope: 1, nope2: 1 }
  a:
    allow: tpm2
server: {}
`;
  const { problems } = readConfig(text);
  t.strictSame(
    problems.map(({ line, message }) => `${line} ${message.split(':')[0]}`),
    ['2 volumes.b.nope', '2 volumes.b.nope2', '2 volumes.b.give-up-after', '4 volumes.a.allow', '5 server'],
  );
  t.throws(() => parseConfig(text, '/etc/x/config.yaml'), {
    code: 'bad-config',
    message: /^\/etc\/x\/config\.yaml:2: volumes\.b\.nope: expected one of the keys .* \(and 4 more\)$/,
    hint: /check/,
  });
  t.end();
});

t.test('sockets', (t) => {
  const serving = (path: string, serve: string) => readConfig(`sockets: { ${path}: { serve: ${serve} } }`);
  const { config, problems } = serving('/run/x.sock', '[volumes, encrypted-credentials]');
  t.strictSame(problems, []);
  t.strictSame(config?.sockets.get('/run/x.sock'), { serve: ['volumes', 'encrypted-credentials'] });
  const wrong: readonly [string, string, RegExp][] = [
    [
      '/x',
      '[secrets]',
      /serve\[0\]: expected one of volumes, credentials, encrypted-credentials, got "secrets"/,
    ],
    ['/x', '[]', /serve: expected a list of volumes, credentials/],
    ['/x', 'volumes', /serve: expected a list of volumes, credentials/],
    ['x.sock', '[volumes]', /expected the absolute path of a socket, got "x\.sock"/],
  ];
  for (const [path, serve, said] of wrong) t.match(serving(path, serve).problems[0]?.message, said, serve);
  t.match(readConfig('sockets: { /x: {} }').problems[0]?.message, /sockets.*serve: expected a list/);
  t.match(readConfig('sockets: { /x: { kinds: [] } }').problems[0]?.message, /one of the keys serve/);
  t.end();
});

t.test('the example in etc/ is right, and so is all that it comments out', (t) => {
  const text = readFileSync(new URL('../../etc/config.yaml.example', import.meta.url), 'utf8');
  t.strictSame(readConfig(text).problems, []);
  const uncommented = text.replaceAll(/^#( *(?:- |[a-z-]+:|\/\S+:))/gm, '$1');
  t.not(uncommented, text);
  const { config, problems } = readConfig(uncommented);
  t.strictSame(problems, []);
  t.ok((config?.volumes.size ?? 0) >= 4);
  t.equal(config?.volumes.get('data')?.waitForAllowMs, 3_600_000);
  t.strictSame([...(config?.servers.keys() ?? [])], ['home']);
  t.strictSame(config?.sockets.get('/run/fetch-luks-key/credentials/default.sock'), {
    serve: ['credentials'],
  });
  t.strictSame(config?.onLocked, [{ run: ['/usr/local/sbin/tell-somebody', 'locked'] }]);
  t.strictSame(config?.onRevoked, ['suspend', 'poweroff']);
  t.end();
});

t.test('how what the machine keeps is protected', async (t) => {
  t.strictSame(parseConfig('', 'c').protect, { mode: 'best-effort', method: null });
  t.strictSame(parseConfig('protect-with-tpm: require\nprotection: tpm2', 'c').protect, {
    mode: 'require',
    method: 'tpm2',
  });
  const message = (text: string) => readConfig(text).problems.map((problem) => problem.message);
  t.strictSame(message('protect-with-tpm: yes'), [
    'protect-with-tpm: expected best-effort, require, never, got "yes"',
  ]);
  t.strictSame(message('protection: [tpm2]'), ['protection: expected parsec, tpm2, tpm2-aes, got a list']);
});
