import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import t, { type Test } from 'tap';
import { DEFAULT_PROGRAM } from '../support/activation.ts';
import { atTerminal, type Ended, fails, fetchLuksKey, startFetchLuksKey } from '../support/command-line.ts';
import { run } from '../support/run.ts';
import { seal } from '../support/sealing.ts';
import { setStage } from '../support/stage.ts';
import { startTang } from '../support/tang.ts';

const KEY = 'a key\0\n';
const tang = await startTang(t);
const stage = await setStage(t);
const put = async (volume: string, key: string) =>
  stage.put(volume, await seal('tang', { url: tang.url, thp: tang.thp }, key));
await put('data', KEY);
await put('x'.repeat(64), 'k'.repeat(64));

/** Asks, and waits for the handler's end, so that the next question finds nothing of it. */
async function request(volume: string, ...options: string[]): Promise<Ended> {
  const ended = await fetchLuksKey(['request', volume, '--socket', stage.path, ...options]);
  await stage.ended();
  return ended;
}

t.test('how many bytes came, in words and as JSON', async (t) => {
  const words = await request('data');
  t.match(words, { status: 0, stdout: /^data: answered, 7 bytes in \d+ ms\n$/, stderr: '' });
  const { status, stdout, stderr } = await request('data', '--json');
  t.strictSame({ status, stderr }, { status: 0, stderr: '' });
  const { milliseconds, ...rest } = JSON.parse(stdout) as Record<string, unknown>;
  t.strictSame(rest, { volume: 'data', outcome: 'answered', bytes: 7 });
  t.type(milliseconds, 'number');
});

t.test('--output - gives the bytes and nothing else, also to a terminal', async (t) => {
  t.strictSame(await request('data', '--output', '-'), { status: 0, stdout: KEY, stderr: '' });
  const command = `$FETCH_LUKS_KEY request data --socket ${stage.path}`;
  const secretly = await atTerminal(t, t.testdir(), command).ended;
  t.match(secretly, { status: 0, screen: /^data: answered, 7 bytes in \d+ ms\n$/ });
  const openly = await atTerminal(t, t.testdir(), `${command} --output -`).ended;
  t.strictSame(openly, { status: 0, screen: KEY });
  await stage.ended();
  await stage.ended();
});

t.test('64 bytes may be a refusal', async (t) => {
  const note = (volume: string) =>
    `fetch-luks-key: ${volume}: 64 bytes are what a refusal has too (hint: journalctl -t fetch-luks-key says why)\n`;
  const refused = await request('unknown');
  t.match(refused, { status: 0, stdout: /^unknown: answered, 64 bytes/, stderr: note('unknown') });
  const piped = await request('unknown', '--output', '-');
  t.match(piped, { status: 0, stderr: note('unknown') }, 'cryptsetup behind a pipe will say less');
  const key = 'x'.repeat(64);
  t.strictSame(await request(key, '--output', '-'), { status: 0, stdout: 'k'.repeat(64), stderr: note(key) });
});

t.test('a volume that cannot be', async (t) => {
  for (const name of ['a/b', '', '..', 'n'.repeat(79)]) {
    const ended = await fetchLuksKey(['request', name, '--socket', stage.path]);
    fails(t, JSON.stringify(name), ended, 2, /^volume name ".*": expected 1 to 78 bytes /);
  }
});

t.test('nobody listens', async (t) => {
  const folder = t.testdir({ file: '' });
  for (const path of [`${folder}/absent`, `${folder}/file`, `/tmp/${'n'.repeat(200)}`]) {
    const ended = await fetchLuksKey(['request', 'data', '--socket', path]);
    const line = new RegExp(`${path}: .*\\(hint: .*systemctl start fetch-luks-key@default\\.socket\\)$`);
    fails(t, path, ended, 5, line);
  }
});

t.test('a socket that one may not use', async (t) => {
  chmodSync(stage.path, 0);
  t.teardown(() => chmodSync(stage.path, 0o600));
  // Modes do not hold off root, only root without capabilities (capabilities(7)).
  const powerless = ['/usr/bin/setpriv', '--bounding-set=-all', '--inh-caps=-all'];
  const { stdout, ...rest } = await run(
    [...powerless, ...DEFAULT_PROGRAM, 'request', 'data', '--socket', stage.path],
    Buffer.alloc(0),
    {},
  );
  const ended = { ...rest, stdout: stdout.toString() };
  fails(t, 'mode 0', ended, 4, /EACCES.* \(hint: keys are for root alone\)$/);
});

t.test('--output takes - alone, and is no --json', async (t) => {
  const ask = (...options: string[]) => fetchLuksKey(['request', 'data', '--socket', stage.path, ...options]);
  fails(t, 'a file', await ask('--output', '/x'), 2, /^request: --output: expected -, got \/x \(hint: /);
  fails(t, 'both', await ask('--output=-', '--json'), 2, /^request: --json and --output exclude each other /);
});

/** A socket whose other end does what `answer` does. */
async function listen(t: Test, answer: (client: Socket) => void): Promise<string> {
  // Not t.testdir(): a socket's path has at most 107 bytes (unix(7)).
  const folder = mkdtempSync(`${tmpdir()}/request-`);
  const path = `${folder}/s`;
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    clients.add(client);
    answer(client);
  }).listen(path);
  await once(server, 'listening');
  t.teardown(() => {
    for (const client of clients) client.destroy();
    server.close();
    rmSync(folder, { recursive: true });
  });
  return path;
}

t.test('no bytes at all', async (t) => {
  const path = await listen(t, (client) => client.end());
  const ask = (...options: string[]) => fetchLuksKey(['request', 'data', '--socket', path, ...options]);
  const stderr = 'fetch-luks-key: data: no bytes came (hint: journalctl -t fetch-luks-key says why)\n';
  t.match(await ask(), { status: 4, stdout: /^data: nothing, 0 bytes in \d+ ms\n$/, stderr });
  t.match(await ask('--json'), { status: 4, stdout: /"outcome":"nothing","bytes":0,/, stderr });
  t.strictSame(await ask('--output', '-'), { status: 4, stdout: '', stderr });
});

t.test('SIGTERM ends it', async (t) => {
  const asked = Promise.withResolvers<void>();
  const path = await listen(t, () => asked.resolve());
  const { child, ended } = startFetchLuksKey(t, ['request', 'data', '--socket', path]);
  await asked.promise;
  child.kill('SIGTERM');
  fails(t, 'request', await ended, 5, new RegExp(`^${path}: stopped while waiting for an answer$`));
});
