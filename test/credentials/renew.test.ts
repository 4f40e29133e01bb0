import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { hostKey } from '../support/host-key.ts';
import { until } from '../support/keepalive-machine.ts';
import { privateMounts } from '../support/private-mounts.ts';
import { processOf } from '../support/processes.ts';
import { seal } from '../support/sealing.ts';
import { startTang } from '../support/tang.ts';

t.setTimeout(300_000);

const tang = await startTang(t);
const config = { url: tang.url };
const NAME = 'nginx.service/tls-key';
const at = (etc: string) => `${etc}/credentials/${NAME}.jwe`;

/** A machine with one sealed secret. */
async function machine(secret: string | Uint8Array, etc = t.testdir({})) {
  const made = await fetchLuksKey(
    ['seal', '--credential', NAME, '--etc', etc, 'tang', JSON.stringify(config), '-y'],
    secret,
  );
  if (made.status !== 0) throw new Error(made.stderr);
  const [unit = '', id = ''] = NAME.split('/');
  return {
    etc,
    opened: async () => (await fetchLuksKey(['open', at(etc)])).stdout,
    act: (
      action: string,
      more: string[] = [],
      environment: Record<string, string> = {},
      wrapper?: string[],
    ) => fetchLuksKey(['credential', action, unit, id, ...more, '--etc', etc], '', environment, wrapper),
  };
}

t.test('rotate: the same secret under another key, in the same way, without a question', async (t) => {
  const { etc, opened, act } = await machine('the secret');
  const before = readFileSync(at(etc), 'utf8');
  const { status, stdout, stderr } = await act('rotate');
  t.strictSame([status, stdout, stderr], [0, `rotated ${NAME}: tang ${tang.url}, proven to open\n`, '']);
  t.not(readFileSync(at(etc), 'utf8'), before);
  t.equal(await opened(), 'the secret');
  t.strictSame(readdirSync(`${etc}/credentials/nginx.service`), ['tls-key.json', 'tls-key.jwe']);

  const other = await act('rotate', [
    'sss',
    JSON.stringify({ t: 1, pins: { tang: config } }),
    '-y',
    '--json',
  ]);
  t.strictSame(JSON.parse(other.stdout), {
    credential: NAME,
    path: at(etc),
    policy: `1 of {tang ${tang.url}}`,
    done: 'rotated',
  });
  const again = await act('rotate');
  t.match(again.stdout, `1 of {tang ${tang.url}}`, 'the new way is kept');
  t.equal(await opened(), 'the secret');
});

t.test('what was sealed elsewhere has to be told how', async (t) => {
  const { etc, act, opened } = await machine('before');
  writeFileSync(at(etc), await seal('tang', { url: tang.url, thp: tang.thp }, 'by hand'));
  fails(t, 'rotate', await act('rotate'), 2, /tls-key\.jwe: nothing says how it was sealed \(hint: say it/);
  t.equal((await act('rotate', ['tang', JSON.stringify({ ...config, thp: tang.thp })])).status, 0);
  t.equal((await act('rotate')).status, 0);
  t.equal(await opened(), 'by hand');
  writeFileSync(`${etc}/credentials/nginx.service/tls-key.json`, '{');
  fails(t, 'a broken record', await act('rotate'), 6, /tls-key\.json: expected what seal wrote/);
});

t.test('edit: in the editor, and sealed again', async (t) => {
  const { etc, opened, act } = await machine('old secret');
  const edited = await act('edit', [], { EDITOR: 'sed -i s/old/new/' });
  t.strictSame(
    [edited.status, edited.stdout],
    [0, `edited ${NAME}: tang ${tang.url}, proven to open\n`],
    edited.stderr,
  );
  t.match(edited.stderr, /^next: systemctl restart nginx\.service$/m);
  t.equal(await opened(), 'new secret');

  const file = readFileSync(at(etc), 'utf8');
  const same = await act('edit', [], { VISUAL: 'true', EDITOR: 'sed -i s/new/newest/' });
  t.strictSame([same.status, same.stdout], [0, '']);
  t.match(same.stderr, /: unchanged, so nothing was written$/m);
  fails(t, 'the editor fails', await act('edit', [], { EDITOR: 'false' }), 4, /^false: failed, so nothing/);
  fails(
    t,
    'an empty one',
    await act('edit', [], { EDITOR: 'truncate -s 0' }),
    4,
    /expected 1 to 1048575 bytes, got 0/,
  );
  fails(t, 'too much', await act('edit', [], { EDITOR: 'truncate -s 1048576' }), 4, /got 1048576/);
  fails(
    t,
    'too much by far',
    await act('edit', [], { EDITOR: 'truncate -s 9M' }),
    4,
    /expected 1 to 1048575 bytes, got 1048576/,
  );
  t.equal(readFileSync(at(etc), 'utf8'), file, 'nothing of it changed the file');

  const addsLine = { EDITOR: `sh -c 'echo and more >> "$0"; printf "\\n" >> "$0"'` };
  t.equal((await act('edit', [], addsLine)).status, 0);
  t.equal(await opened(), 'new secretand more\n', 'one newline is the editor’s');
  t.equal((await act('edit', [], { EDITOR: `sed -i s/and.more/line/` })).status, 0);
  t.equal(await opened(), 'new secretline\n', 'one that was there stays');
});

t.test('two at once: of one configuration the second says so, of two both go on', async (t) => {
  const both = t.testdir({ here: {}, elsewhere: {} });
  const here = await machine('old secret', `${both}/here`);
  const elsewhere = await machine('another', `${both}/elsewhere`);
  // The editor has a /tmp of its own, so it is told to go on by the end of its sleep.
  const nap = `600.${process.pid}`;
  const editing = here.act('edit', [], { EDITOR: `sh -c 'sleep ${nap}; sed -i s/old/new/ "$0"'` });
  await until('the editor is open', () => processOf('sleep', nap) !== null);
  const second = await here.act('rotate');
  fails(t, 'the second', second, 5, /^rotate: another command is changing things of \/.* now/);
  t.equal((await elsewhere.act('rotate')).status, 0);
  const asleep = processOf('sleep', nap);
  if (asleep === null) throw new Error('the editor has not waited');
  process.kill(asleep);
  const { status, stderr } = await editing;
  t.equal(status, 0, stderr);
  t.equal(await here.opened(), 'new secret');
});

t.test('edit leaves nothing anywhere, and swaps nothing', async (t) => {
  const { act, opened } = await machine('old secret');
  const mounts = privateMounts(t.testdir({}));
  const leaves = `sh -c 'for place in "$HOME" "$TMPDIR" /tmp /var/tmp .; do cp "$0" "$place/copy"; done
    stat -f -c %T "$0" /tmp /var/tmp "$HOME" | sort -u >&2; ulimit -Hc >&2; sed -i s/old/new/ "$0"'`;
  const { status, stderr } = await act('edit', [], { EDITOR: leaves, HOME: '/root' }, mounts.wrapper);
  t.equal(status, 0, stderr);
  t.match(stderr, /^ramfs$/m);
  t.match(stderr, /^0$/m, 'no core dump');
  t.notMatch(stderr, 'tmpfs');
  t.equal(await opened(), 'new secret');
  const left = mounts.files().filter((path) => /copy|secret/.test(path));
  t.strictSame(left, []);
});

t.test('an encrypted one stays encrypted', async (t) => {
  const { wrapper } = hostKey(t);
  const etc = t.testdir({});
  const run = (args: string[], input = '', environment = {}) =>
    fetchLuksKey([...args, '--etc', etc], input, environment, wrapper);
  const sealed = await run(
    ['seal', '--credential', NAME, '--encrypted', 'tang', JSON.stringify(config), '-y'],
    'old secret',
  );
  t.equal(sealed.status, 0, sealed.stderr);
  const path = `${etc}/credentials.encrypted/${NAME}.jwe`;
  t.match(sealed.stderr, `wrote ${path}`);
  const opened = async () => {
    const credential = (await fetchLuksKey(['open', path])).stdout;
    t.notMatch(credential, 'secret', 'it is systemd’s');
    const back = ['import-credential', '-', 'tang', JSON.stringify({ ...config, thp: tang.thp })];
    const key = await run([...back, '--name', 'tls-key'], credential);
    t.equal(key.status, 0, key.stderr);
    return (await fetchLuksKey(['open', '-'], key.stdout)).stdout;
  };
  t.equal(await opened(), 'old secret');
  t.equal((await run(['credential', 'rotate', 'nginx.service', 'tls-key'])).status, 0);
  t.equal(await opened(), 'old secret');
  t.equal(
    (await run(['credential', 'edit', 'nginx.service', 'tls-key'], '', { EDITOR: 'sed -i s/old/new/' }))
      .status,
    0,
  );
  t.equal(await opened(), 'new secret');
  const list = await run(['credential', 'list']);
  t.equal(list.stdout, `${NAME}: tang ${tang.url}, encrypted, no drop-in asks for it\n`);

  mkdirSync(`${etc}/credentials`, { recursive: true });
  t.equal((await run(['seal', '--credential', NAME, 'tang', JSON.stringify(config), '-y'], 'x')).status, 0);
  t.equal((await run(['credential', 'list'])).stdout, `${NAME}: tang ${tang.url}, no drop-in asks for it\n`);

  const long = Buffer.alloc(1024 * 1024 - 1, 'x').toString();
  fails(
    t,
    'too long once encrypted',
    await run(['seal', '--credential', NAME, '--encrypted', 'tang', JSON.stringify(config), '-y'], long),
    2,
    /expected at most 1048575 bytes once encrypted, got 14\d+/,
  );
});
