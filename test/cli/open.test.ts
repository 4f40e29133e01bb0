import { EventEmitter, once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { atTerminal, fails, fetchLuksKey, shell, startFetchLuksKey } from '../support/command-line.ts';
import { seal } from '../support/sealing.ts';
import { serveHttp } from '../support/servers.ts';
import { startTang } from '../support/tang.ts';

const SECRET = 'a secret\n';
const tang = await startTang(t);
const sealed = await seal('tang', { url: tang.url, thp: tang.thp }, SECRET);

/** A folder with the sealed key, and what else is given. */
function folderWith(t: Test, files: Record<string, string> = {}): string {
  return t.testdir({ 'data.jwe': sealed, ...files });
}

t.test('the secret and nothing else, from a file and from standard input', async (t) => {
  const file = `${folderWith(t)}/data.jwe`;
  const opened = { status: 0, stdout: SECRET, stderr: '' };
  t.strictSame(await fetchLuksKey(['open', file]), opened);
  t.strictSame(await fetchLuksKey(['open', '-'], `${sealed}\n`), opened);
  t.strictSame(await fetchLuksKey(['open', file, '--output', '-']), opened);
  t.strictSame(await shell(`clevis decrypt < ${file} && $FETCH_LUKS_KEY open - < ${file}`), {
    ...opened,
    stdout: SECRET + SECRET,
  });
});

t.test('--json has everything but the secret', async (t) => {
  const { status, stdout, stderr } = await fetchLuksKey(['open', '--json', '-'], sealed);
  t.strictSame({ status, stderr }, { status: 0, stderr: '' });
  const { milliseconds, ...rest } = JSON.parse(stdout) as Record<string, unknown>;
  t.strictSame(rest, { pin: `tang ${tang.url}`, bytes: SECRET.length });
  t.type(milliseconds, 'number');
});

t.test('a file that is not there, or not a sealed key', async (t) => {
  const folder = folderWith(t, { text: 'root:x:0:0', 'more.jwe': `${sealed.slice(0, -4)}AAAA` });
  mkdirSync(`${folder}/folder`);
  const open = (name: string) => fetchLuksKey(['open', `${folder}/${name}`]);
  fails(t, 'absent', await open('absent'), 2, /^open: .*\/absent: no such file$/);
  fails(t, 'folder', await open('folder'), 3, /\/folder: expected a file, got a folder$/);
  fails(t, 'text', await open('text'), 6, /\/text: sealed key: expected five parts .*, got 1$/);
  fails(t, 'empty', await fetchLuksKey(['open', '-']), 6, /^standard input: sealed key: .* got nothing$/);
  fails(
    t,
    'an option for it',
    await fetchLuksKey(['open', '--', '--json']),
    2,
    /^open: --json: no such file$/,
  );
  writeFileSync(`${folder}/data.jwe`, sealed.replace(/^./, 'A'));
  fails(
    t,
    'header',
    await open('data.jwe'),
    6,
    /\/data\.jwe: sealed key: protected header .*: expected JSON$/,
  );
});

t.test('a secret that does not authenticate, and a server that is away', async (t) => {
  // What an unauthenticated Tang server may have caused is never called damaged.
  const forged = await fetchLuksKey(['open', '-'], `${sealed.slice(0, -4)}AAAA`);
  fails(t, 'changed', forged, 5, new RegExp(`^tang ${tang.url}`));
  const away = await seal('tang', { url: tang.url, thp: tang.thp }, SECRET);
  await tang.stop();
  fails(t, 'away', await fetchLuksKey(['open', '-'], away), 5, /^tang .*: connection refused$/);
  await tang.start();
});

t.test('a terminal gets the secret only when it is asked for', async (t) => {
  const folder = folderWith(t);
  const at = async (options: string) =>
    atTerminal(t, folder, `$FETCH_LUKS_KEY open data.jwe ${options}`).ended;
  const { status, screen } = await at('');
  const line =
    /^open: standard output is a terminal, and this is a secret \(hint: pipe it .*, or say --output -\)$/;
  fails(t, 'not asked', { status, stdout: '', stderr: screen }, 2, line);
  t.strictSame(await at('--output -'), { status: 0, screen: SECRET });
  t.match(await at('--json'), { status: 0, screen: /^\{"pin":.*\}\n$/ });
  t.match(await at('> secret'), { status: 0, screen: '' });
  t.equal(readFileSync(`${folder}/secret`, 'utf8'), SECRET);
});

t.test('--output takes - alone, and is no --json', async (t) => {
  const open = (...options: string[]) => fetchLuksKey(['open', `${folderWith(t)}/data.jwe`, ...options]);
  const elsewhere = /^open: --output: expected -, got \/x \(hint: .* tmpfs\)$/;
  fails(t, 'a file', await open('--output', '/x'), 2, elsewhere);
  fails(t, 'a file, and --json', await open('--output', '/x', '--json'), 2, elsewhere);
  const both = /^open: --json and --output exclude each other \(hint: /;
  fails(t, 'both', await open('--output', '-', '--json'), 2, both);
});

t.test('SIGTERM ends it, whatever it waits for', async (t) => {
  const asked = new EventEmitter();
  const silent = await serveHttp(t, () => asked.emit('asked'));
  const url = `http://127.0.0.1:${silent.port}`;
  const adv = await (await fetch(`${tang.url}/adv`)).json();
  const pins = { tang: [1, 2].map((number) => ({ url: `${url}/${number}`, adv })) };
  const folder = t.testdir({
    'one.jwe': await seal('tang', { url, adv }, SECRET),
    'two.jwe': await seal('sss', { t: 2, pins }, SECRET),
  });
  for (const [name, line] of [
    ['one', /^tang http:\/\/127[^;]*: stopped$/],
    ['two', /^2 of 2 needed: tang http:\/\/127.*: stopped$/],
  ] as const) {
    const { child, ended } = startFetchLuksKey(t, ['open', `${folder}/${name}.jwe`]);
    await once(asked, 'asked');
    child.kill('SIGTERM');
    fails(t, name, await ended, 5, line);
  }
  const idle = startFetchLuksKey(t, ['open', '-']);
  await idle.reads();
  idle.child.kill('SIGINT');
  fails(t, 'standard input', await idle.ended, 5, /^stopped before standard input ended$/);
});
