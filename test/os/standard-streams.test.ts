import { spawn } from 'node:child_process';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { atTerminal } from '../support/command-line.ts';

const MODULE = JSON.stringify(new URL('../../src/os/standard-streams.ts', import.meta.url).href);
const BEGIN = `import * as streams from ${MODULE};
const report = (error) => { process.stderr.write(error.code + ': ' + error.message); };
`;

/** Reads standard input, and tells on standard output what came. */
const READ = `${BEGIN}
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
process.stderr.write('reading ');
const show = (secret) => {
  process.stdout.write(secret.length + ' ');
  process.stdout.write(secret.reveal().subarray(0, 20));
};
await streams.readStandardInput(100_000, stop.signal).then(show, report);
`;

const print = (expression: string) =>
  `${BEGIN} try { streams.print(${expression}); } catch (e) { report(e); }`;

type Stdio = 'pipe' | 'ignore' | number;

function start(t: Test, code: string, stdin: Stdio, stdout: Stdio = 'pipe') {
  const child = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-e', code], {
    stdio: [stdin, stdout, 'pipe'],
    env: {},
  });
  t.teardown(() => child.kill('SIGKILL'));
  const seen = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('latin1').on('data', (text: string) => {
      seen[name] += text;
    });
  }
  const closed = new Promise((resolve) => child.once('close', resolve));
  return { child, seen, ended: closed.then(() => seen) };
}

function opened(t: Test, path: string, flags: string): number {
  const fd = openSync(path, flags);
  t.teardown(() => closeSync(fd));
  return fd;
}

t.test('standard input is read to its end', async (t) => {
  const pipe = start(t, READ, 'pipe');
  pipe.child.stdin?.write('a key in ');
  await pause(20);
  pipe.child.stdin?.end('two parts\n');
  t.strictSame(await pipe.ended, { stdout: '19 a key in two parts\n', stderr: 'reading ' });

  const whole = start(t, READ, 'pipe');
  whole.child.stdin?.end(Buffer.alloc(100_000, 'k'));
  t.match((await whole.ended).stdout, /^100000 k/, 'as much as is allowed');

  const folder = t.testdir();
  writeFileSync(`${folder}/key`, Buffer.from('bytes \xff\0', 'latin1'));
  const file = start(t, READ, opened(t, `${folder}/key`, 'r'));
  t.equal((await file.ended).stdout, '8 bytes \xff\0', 'a file, byte by byte');

  t.equal((await start(t, READ, 'ignore').ended).stdout, '0 ', 'nothing at all');
});

t.test('more than is allowed is refused, also where it never ends', async (t) => {
  const over = start(t, READ, 'pipe');
  over.child.stdin?.on('error', () => {});
  over.child.stdin?.end(Buffer.alloc(100_001));
  const endless = start(t, READ, opened(t, '/dev/zero', 'r'));
  for (const { ended } of [over, endless]) {
    t.strictSame(await ended, {
      stdout: '',
      stderr: 'reading usage: standard input: expected at most 100000 bytes, got more',
    });
  }
});

t.test('a signal ends waiting for it', async (t) => {
  const { child, seen, ended } = start(t, READ, 'pipe');
  child.stdin?.write('half a key');
  while (seen.stderr === '') await pause(10);
  child.kill('SIGTERM');
  t.strictSame(await ended, { stdout: '', stderr: 'reading stopped: stopped before standard input ended' });

  const early = READ.replace("process.once('SIGTERM', () => stop.abort());", 'stop.abort();');
  t.match(
    await start(t, early, 'pipe').ended,
    { stdout: '', stderr: /stopped: / },
    'one that came before too',
  );
});

t.test('a terminal is no place to type a secret', async (t) => {
  const { ended } = atTerminal(t, t.testdir(), '"$NODE" --no-warnings --input-type=module -e "$READ"', {
    NODE: process.execPath,
    READ,
  });
  t.match((await ended).screen, /usage: standard input is a terminal$/);
});

t.test('all of it is written, also to a pipe that is read slowly', async (t) => {
  const { child, ended } = start(t, print('Buffer.alloc(1_000_000, "k")'), 'ignore');
  child.stdout?.pause();
  await pause(100);
  child.stdout?.resume();
  const { stdout, stderr } = await ended;
  t.equal(stdout.length, 1_000_000);
  t.equal(stderr, '');
});

t.test('a reader that has gone, and a full disk, are errors like others', async (t) => {
  const { child, ended } = start(t, print('Buffer.alloc(1_000_000)'), 'ignore');
  child.stdout?.once('data', () => child.stdout?.destroy());
  t.equal((await ended).stderr, 'stopped: standard output: closed by its reader before all was written');
  t.equal(
    (await start(t, print('"key"'), 'ignore', opened(t, '/dev/full', 'w')).ended).stderr,
    'unavailable: standard output: cannot be written (ENOSPC)',
  );
});

t.test('a standard error that is broken changes nothing', async (t) => {
  const code = `${BEGIN} process.stdin.once('end', () => { streams.say('a line'); streams.print('went on'); }).resume();`;
  const { child, ended } = start(t, code, 'pipe');
  child.stderr?.destroy();
  child.stdin?.end();
  t.equal((await ended).stdout, 'went on');
});
