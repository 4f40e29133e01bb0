import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import t, { type Test } from 'tap';
import { checkCommand } from '../../src/cli/check.ts';
import { check } from '../../src/cli/checking.ts';
import type { World } from '../../src/cli/world.ts';
import { files } from '../../src/os/files.ts';
import { addToken, clevisToken, forge, makeImage, overwrite } from '../support/luks.ts';
import { vector } from '../support/sealing.ts';
import { startTang } from '../support/tang.ts';

const SOCKET = '/run/fetch-luks-key/default.sock';
const tang = await startTang(t);
const sealed = execFileSync('clevis', ['encrypt', 'tang', JSON.stringify({ url: tang.url, thp: tang.thp })], {
  input: 'key',
}).toString();

interface Machine {
  config?: string;
  /** In /etc/fetch-luks-key/volumes. */
  keys?: Record<string, string>;
  /** Lines; `@` is the folder. */
  crypttab?: string;
  /** What else lies in the folder. */
  more?: Record<string, string>;
}

interface Place {
  readonly folder: string;
  readonly etc: string;
  readonly crypttab: string;
}

function machine(t: Test, { config, keys = {}, crypttab, more = {} }: Machine): Place {
  const folder = t.testdir({ etc: { volumes: keys }, ...more });
  const put = (path: string, text: string) =>
    execFileSync('tee', [path], { input: text, stdio: ['pipe', 'ignore', 'inherit'] });
  if (config !== undefined) put(`${folder}/etc/config.yaml`, config.replaceAll('@', folder));
  if (crypttab !== undefined) put(`${folder}/crypttab`, crypttab.replaceAll('@', folder));
  return { folder, etc: `${folder}/etc`, crypttab: `${folder}/crypttab` };
}

/** `level code where: message`, with the folder as `@`. */
async function findings({ folder, etc, crypttab }: Place): Promise<string[]> {
  const found = await check(files, etc, crypttab);
  return found.map(({ level, code, where, message }) =>
    `${level} ${code} ${where}: ${message}`.replaceAll(folder, '@'),
  );
}

/** These and no others: `match` alone would take more than it was given patterns for. */
function finds(t: Test, found: readonly string[], expected: readonly (string | RegExp)[]): void {
  t.match(found, expected);
  t.equal(found.length, expected.length, 'nothing else');
}

t.test('nothing at all, and nothing wrong', async (t) => {
  t.strictSame(await check(files, '/absent', '/absent/crypttab'), []);
  const place = machine(t, {
    config: 'volumes: { web: { url: "https://keys.example/", give-up-after: 5m } }',
    keys: { 'data.jwe': sealed },
    crypttab: `data @/data.img ${SOCKET} luks\nweb @/data.img ${SOCKET}\nbound @/bound.img ${SOCKET}\nother /absent none plain\n`,
  });
  makeImage(place.folder, 'data.img');
  addToken(makeImage(place.folder, 'bound.img'), clevisToken(['0'], sealed));
  t.strictSame(await findings(place), []);
});

t.test('everything that is wrong, and not the first alone', async (t) => {
  const place = machine(t, {
    config: `volumes:
  data:
    give-up-after: 90
    nope: 1
  web: { url: "http://a/" }
`,
    keys: { 'data.jwe': 'x', 'other.jwe': `${sealed.slice(0, -5)}`, 'notes.txt': '' },
    crypttab: `alone\n${'n'.repeat(79)} /absent ${SOCKET}\ndata @/data.img ${SOCKET} keyfile-offset=4\n`,
  });
  finds(t, await findings(place), [
    /^error bad-config @\/etc\/config\.yaml:3: volumes\.data\.give-up-after: expected a duration/,
    /^error bad-config @\/etc\/config\.yaml:4: volumes\.data\.nope: expected one of/,
    /^error bad-config @\/etc\/config\.yaml:5: volumes\.web\.url: expected https/,
    /^error damaged @\/etc\/volumes\/data\.jwe: sealed key: expected five parts/,
    /^warning bad-config @\/etc\/volumes\/notes\.txt: expected a name that ends in \.jwe/,
    /^error damaged @\/etc\/volumes\/other\.jwe: sealed key: tag/,
    /^error bad-config @\/crypttab:1: expected a name and a device/,
    /^error bad-config @\/crypttab:2: volume name "n+": expected 1 to 78 bytes .* got 79$/,
    /^error bad-config @\/crypttab:3: expected no keyfile-offset= beside a socket, got keyfile-offset=4$/,
    /^warning unavailable @\/crypttab:3: @\/data\.img: no such file/,
  ]);
});

t.test('config.yaml that cannot be read', async (t) => {
  const place = machine(t, { keys: { 'data.jwe': sealed }, more: {} });
  execFileSync('mkdir', [`${place.etc}/config.yaml`]);
  t.strictSame(await findings(place), ['error bad-config @/etc/config.yaml: expected a file, got a folder']);
});

t.test('names of sealed keys', async (t) => {
  const place = machine(t, {
    keys: { [`${'n'.repeat(79)}.jwe`]: sealed, '.jwe': sealed, [`${'n'.repeat(78)}.jwe`]: sealed },
  });
  finds(t, await findings(place), [
    /^error bad-config @\/etc\/volumes\/\.jwe: volume name ""/,
    /^error bad-config @\/etc\/volumes\/n+\.jwe: volume name "n{79}"/,
  ]);
});

t.test('files that config.yaml names', async (t) => {
  const place = machine(t, {
    config:
      'volumes: { web: { url: "https://a/", ca: /absent.pem, client-certificate: @/c.pem, client-key: @/c.key } }',
    more: { 'c.pem': 'c', 'c.key': 'k' },
  });
  chmodSync(`${place.folder}/c.key`, 0o604);
  const wrong = 'error bad-config /absent.pem: no such file, and @/etc/config.yaml names it';
  t.strictSame(await findings(place), [
    wrong,
    'error bad-config @/c.key: expected not to be accessible by everybody, got mode 0604',
  ]);
  for (const mode of [0o600, 0o640]) {
    chmodSync(`${place.folder}/c.key`, mode);
    t.strictSame(await findings(place), [wrong]);
  }
});

t.test('files that everybody may change; a sealed key that everybody may read is fine', async (t) => {
  const place = machine(t, { config: '', keys: { 'data.jwe': sealed }, crypttab: '' });
  const paths = [`${place.etc}/config.yaml`, `${place.etc}/volumes/data.jwe`, place.crypttab];
  for (const path of paths) chmodSync(path, 0o644);
  t.strictSame(await findings(place), []);
  for (const path of paths) chmodSync(path, 0o666);
  t.strictSame(
    await findings(place),
    paths.map(
      (path) =>
        `error bad-config ${path.replace(place.folder, '@')}: expected not to be writable by everybody, got mode 0666`,
    ),
  );
});

t.test('what config.yaml does not allow', async (t) => {
  const place = machine(t, {
    config:
      'volumes: { data: { allow: [tpm2] }, bound: { allow-tang: ["http://other"] }, third: { allow: [tpm2] } }',
    keys: { 'data.jwe': sealed },
    crypttab: `bound @/bound.img ${SOCKET}\n`,
  });
  addToken(makeImage(place.folder, 'bound.img'), clevisToken(['0'], sealed));
  t.strictSame(await findings(place), [
    'error not-allowed @/etc/volumes/data.jwe: expected only the pins tpm2, got tang',
    `error not-allowed @/bound.img token 0: expected only the Tang servers http://other, got "${tang.url}"`,
  ]);
});

t.test('volumes in crypttab', async (t) => {
  const place = machine(t, {
    config: 'volumes: { web: { url: "https://keys.example/" } }',
    keys: { 'data.jwe': sealed },
    crypttab: `# only lines that name one of our sockets count
foreign @/plain.img /etc/key luks
none @/plain.img ${SOCKET}
nothing @/zero.img ${SOCKET}
torn @/torn.img ${SOCKET}
clear @/clear.img ${SOCKET}
data @/clear.img ${SOCKET}
web @/torn.img ${SOCKET}
away UUID=not-here ${SOCKET}
tag FOO=1 ${SOCKET}
old @/old.img /run/fetch-luks-key/other.sock
broken @/broken.img ${SOCKET}
`,
    more: { 'zero.img': '\0'.repeat(9000) },
  });
  const { folder } = place;
  makeImage(folder, 'plain.img');
  makeImage(folder, 'old.img', ['--type', 'luks1']);
  overwrite(makeImage(folder, 'torn.img').path, 4096, Buffer.alloc(20_000));
  forge(makeImage(folder, 'clear.img').path, [0, 1], (json) =>
    json.replaceAll('aes-xts-plain64', 'cipher_null-ecb'),
  );
  addToken(makeImage(folder, 'broken.img'), clevisToken(['0'], 'a.b.c.d.e'));
  finds(t, await findings(place), [
    'error unknown-volume @/crypttab:3: none: expected a sealed key, a url in config.yaml or a clevis token, got none',
    'warning damaged @/crypttab:4: expected a LUKS header in @/zero.img, got none',
    /^error unknown-volume @\/crypttab:4: nothing: /,
    'error damaged @/crypttab:5: @/torn.img: LUKS header: both copies of the header are damaged',
    /^error refused @\/crypttab:6: @\/clear\.img: LUKS header: segment 0: expected a cipher, got "cipher_null-ecb"$/,
    /^error refused @\/crypttab:7: @\/clear\.img: /,
    /^error damaged @\/crypttab:8: @\/torn\.img: /,
    'warning unavailable @/crypttab:9: /dev/disk/by-uuid/not-here: no such file or device',
    /^error bad-config @\/crypttab:10: device: expected an absolute path or a tag/,
    /^error unknown-volume @\/crypttab:11: old: /,
    /^error damaged @\/broken\.img token 0: sealed key: /,
  ]);
});

t.test('secrets of services, commitments, and what is nested', async (t) => {
  const place = machine(t, { keys: { 'data.jwe': vector('made-by-clevis-20-sss-2of2') } });
  const put = (path: string, text: string) => {
    mkdirSync(dirname(`${place.etc}/${path}`), { recursive: true });
    writeFileSync(`${place.etc}/${path}`, text);
  };
  put('credentials/db.service/password.jwe', sealed);
  put('credentials/db.service/password.json', '{}');
  put('commitments/data', `0b1c ${Buffer.alloc(32).toString('base64url')}\n`);
  t.strictSame(await findings(place), []);
  put('credentials/db.service/broken.jwe', 'x');
  put('credentials/db.service/notes.txt', '');
  put(`credentials/${'n'.repeat(80)}.service/id.jwe`, sealed);
  put('commitments/other', 'garbage\n');
  put('volumes/spare.jwe', withSpare(vector('made-by-clevis-20-sss-2of2'), vector('broken-unknown-pin')));
  finds(t, await findings(place), [
    /^warning damaged @\/etc\/volumes\/spare\.jwe: one of the nested ones cannot be used: sealed key: header field clevis\.pin/,
    /^error damaged @\/etc\/credentials\/db\.service\/broken\.jwe: sealed key: expected five parts/,
    /^warning bad-config @\/etc\/credentials\/db\.service\/notes\.txt: expected a name that ends in \.jwe/,
    /^error bad-request @\/etc\/credentials\/n+\.service\/id\.jwe: /,
    /^error damaged @\/etc\/commitments\/other:1: expected a UUID and 43 characters/,
  ]);
});

/** The same with one more nested; its content, which is not looked at, does not authenticate any more. */
function withSpare(jwe: string, spare: string): string {
  const [head = '', ...rest] = jwe.split('.');
  const header = JSON.parse(Buffer.from(head, 'base64url').toString());
  header.clevis.sss.jwe.push(spare);
  return [Buffer.from(JSON.stringify(header)).toString('base64url'), ...rest].join('.');
}

t.test('a wrong config.yaml may have a url: a volume without any other way is not blamed', async (t) => {
  const place = machine(t, {
    config: 'volumes: 1',
    crypttab: `data @/data.img ${SOCKET}\nhdr @/data.img ${SOCKET} header=/h:LABEL=x\n`,
  });
  makeImage(place.folder, 'data.img');
  finds(t, await findings(place), [
    'error bad-config @/etc/config.yaml:1: volumes: expected a map, got 1',
    /^warning bad-config @\/crypttab:2: header=: a header on \/dev\/disk\/by-label\/x cannot be read from here$/,
  ]);
});

/** Runs the command as `bin/` does; @returns its exit status and what it wrote. */
async function run(args: string[]): Promise<{ status: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const world = {
    files,
    print: (text: string) => {
      out += text;
    },
    say: (line: string) => {
      err += `${line}\n`;
    },
  } as unknown as World;
  return { status: await checkCommand.run(args, world), out, err };
}

t.test('the command: one line each, and the worst decides', async (t) => {
  const keys = { 'data.jwe': 'x', 'more.txt': '' };
  const place = machine(t, { config: 'volumes: 1', keys, crypttab: '' });
  const args = ['--etc', place.etc, '--crypttab', place.crypttab];
  const both = await run(args);
  t.equal(both.status, 6);
  t.match(both.out.split('\n'), [
    /^error: .*config\.yaml:1: /,
    /^error: .*data\.jwe: /,
    /^warning: .*more\.txt/,
    '',
  ]);
  t.equal(both.err, '2 errors, 1 warning\n');
  const json = await run([...args, '--json']);
  t.equal(json.status, 6);
  t.equal(json.err, '');
  t.match(JSON.parse(json.out).findings, [
    { level: 'error', code: 'bad-config', where: `${place.etc}/config.yaml:1` },
    {},
    {},
  ]);
});

t.test('the command: status 3 for configuration, 0 for warnings alone', async (t) => {
  const wrong = machine(t, { config: 'volumes: 1', crypttab: '' });
  t.equal((await run(['--etc', wrong.etc, '--crypttab', wrong.crypttab])).status, 3);
  const odd = machine(t, { keys: { 'more.txt': '' }, crypttab: '' });
  t.match(await run(['--etc', odd.etc, '--crypttab', odd.crypttab]), {
    status: 0,
    err: '0 errors, 1 warning\n',
  });
  await t.rejects(run(['--etcetera']), { code: 'usage' });
});

t.test(
  'the command: a place that is named but not there is a slip, not a place without faults',
  async (t) => {
    const { etc, crypttab } = machine(t, { crypttab: '' });
    const absent = `${etc}/absent`;
    for (const [option, args] of [
      ['etc', ['--etc', absent, '--crypttab', crypttab]],
      ['crypttab', ['--etc', etc, '--crypttab', absent]],
    ] as const) {
      await t.rejects(run([...args]), {
        code: 'usage',
        message: `check: --${option}: ${absent}: no such file or folder`,
      });
    }
  },
);
