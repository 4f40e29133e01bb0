import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';

const root = resolve(import.meta.dirname, '../..');
const executable = `${root}/dist/fetch-luks-key`;
const { version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as { version: string };

/** Whether a running process handles a signal (proc(5), SigCgt of /proc/PID/status). */
function handles(pid: number | undefined, signal: number): boolean {
  const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
  return ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

const SIGUSR1 = 10;

/** `request data`, asking a server that answers only when it is told to. */
async function askingMuteServer(t: Test): Promise<{ child: ChildProcess; connection: Socket }> {
  // Not t.testdir(): a socket's path has at most 107 bytes (unix(7)).
  const folder = mkdtempSync(`${tmpdir()}/build-`);
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = `${folder}/key.sock`;
  const server = createServer({ allowHalfOpen: true }).listen(path);
  t.teardown(() => server.close());
  await once(server, 'listening');
  const child = spawn(executable, ['request', 'data', '--socket', path], { env: {} });
  t.teardown(() => child.kill('SIGKILL'));
  const [connection] = (await once(server, 'connection')) as [Socket];
  return { child, connection };
}

t.test('one file of at most 120 MB', async (t) => {
  const { size } = statSync(executable);
  t.ok(size <= 120_000_000, `${size} bytes`);
});

t.test('says its version where there is no Node and no environment at all', async (t) => {
  const { stdout, stderr, status } = spawnSync(executable, ['--version'], {
    env: {},
    cwd: '/',
    encoding: 'utf8',
  });
  t.same({ stdout, stderr, status }, { stdout: `fetch-luks-key ${version}\n`, stderr: '', status: 0 });
});

t.test('NODE_OPTIONS has no effect', async (t) => {
  const folder = t.testdir({ 'evil.cjs': `require('node:fs').writeFileSync(__dirname + '/ran', '');` });
  const env = { NODE_OPTIONS: `--require=${folder}/evil.cjs` };
  execFileSync(executable, ['--version'], { env });
  t.notOk(existsSync(`${folder}/ran`));
  execFileSync(process.execPath, ['-e', ''], { env });
  t.ok(existsSync(`${folder}/ran`), 'it would have one on Node itself');
});

t.test('SIGUSR1 opens no debugger, and calls into the C library work', async (t) => {
  const { child, connection } = await askingMuteServer(t);
  t.notOk(handles(child.pid, SIGUSR1));
  child.kill('SIGUSR1');
  connection.end('a key');
  // The socket is asked from a name that only bind(2), through node:ffi, can give.
  const [stdout, stderr] = await Promise.all(
    [child.stdout, child.stderr].map(async (from) => (from ? text(from) : '')),
  );
  t.match(stdout, /\b5 bytes\b/);
  t.equal(stderr, '');
});

t.test('and would on Node itself', async (t) => {
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume(); console.log("up")']);
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  t.ok(handles(child.pid, SIGUSR1));
});
