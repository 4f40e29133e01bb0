import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { inspect } from 'node:util';
import t from 'tap';
import { AppError } from '../../src/base/errors.ts';
import type { RunOptions } from '../../src/base/ports.ts';
import { Secret } from '../../src/base/secret.ts';
import { memoryFiles } from '../../src/os/memory-files.ts';
import { runner } from '../../src/os/processes.ts';

const options: RunOptions = { timeoutMs: 30_000, maxOutputBytes: 1000 };

/** Runs a shell script; its `$1`, `$2`… are `args`. */
function shell(script: string, more: Partial<RunOptions> = {}, args: Parameters<typeof runner.run>[1] = []) {
  return runner.run('/bin/sh', ['-c', script, 'sh', ...args], { ...options, ...more });
}

/** Waits until a script says that it has come so far by making a file. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(5);
}

function isAlive(pidFile: string): boolean {
  const stat = `/proc/${readFileSync(pidFile, 'utf8').trim()}/stat`;
  return existsSync(stat) && !/\) Z /.test(readFileSync(stat, 'utf8'));
}

t.test('status, output and error output come back', async (t) => {
  const result = await shell('echo out; echo err >&2; exit 3');
  t.equal(result.status, 3);
  t.equal(result.stdout.toString(), 'out\n');
  t.equal(result.stderr, 'err\n');
});

t.test('environment and working directory are fixed', async (t) => {
  process.env.LEAKED = 'yes';
  t.teardown(() => delete process.env.LEAKED);
  const { stdout } = await runner.run('/usr/bin/env', [], { ...options, environment: { ADDED: 'x' } });
  const lines = stdout.toString().trim().split('\n').sort();
  t.same(lines, ['ADDED=x', 'LC_ALL=C', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin']);
  t.equal((await shell('pwd')).stdout.toString(), '/\n');
});

t.test('arguments are passed as they are, to no shell', async (t) => {
  const { stdout } = await runner.run('/usr/bin/printf', ['%s|', '$HOME', '`id`', 'a b', ''], options);
  t.equal(stdout.toString(), '$HOME|`id`|a b||');
});

t.test('standard input arrives whole; a child that does not read it is no error', async (t) => {
  const input = Buffer.alloc(300_000, 'abc');
  t.equal((await shell('wc -c', { stdin: input })).stdout.toString().trim(), '300000');
  t.equal((await shell('exec <&-; exit 0', { stdin: input })).status, 0);
  t.equal((await shell('cat')).stdout.length, 0, 'without one it is empty');
});

t.test('memory files are passed by path, one descriptor each', async (t) => {
  using source = memoryFiles.create(Buffer.from('content'));
  using copy = memoryFiles.create();
  const script = 'cat "$1" >"$2"; echo "$1 $2 $3"; ls /proc/self/fd >&2';
  const result = await shell(script, {}, [source, copy, { prefix: 'session:', file: source }]);
  t.equal(copy.read(100).toString(), 'content');
  t.equal(result.stdout.toString(), '/proc/self/fd/3 /proc/self/fd/4 session:/proc/self/fd/3\n');
});

t.test('descriptors of ours that are not passed do not reach the child', async (t) => {
  using kept = memoryFiles.create(Buffer.from('kept'));
  const { stdout } = await shell(
    `readlink /proc/self/fd/* | grep -c memfd; test -e /proc/self/fd/${kept.fd}`,
  );
  t.equal(stdout.toString(), '0\n');
});

t.test('a tool that is not there, or cannot be executed, is missing', async (t) => {
  await t.rejects(runner.run('/nonexistent/tool', [], options), {
    code: 'tool-missing',
    message: /\/nonexistent\/tool.*ENOENT/,
  });
  await t.rejects(runner.run('/etc/passwd', [], options), { code: 'tool-missing', message: /EACCES/ });
});

t.test('one that a signal ends is unavailable', async (t) => {
  await t.rejects(shell('kill -SEGV $$'), { code: 'unavailable', message: /killed by SIGSEGV/ });
});

t.test('the time limit ends a child that hangs, and what it started', async (t) => {
  const folder = t.testdir({});
  const script = `sleep 1000 & echo $! >${folder}/pid; wait`;
  await t.rejects(shell(script, { timeoutMs: 1000 }), { code: 'unavailable', message: /within 1 s/ });
  await until(() => !isAlive(`${folder}/pid`));
});

t.test('SIGKILL ends a child that ignores SIGTERM', async (t) => {
  const folder = t.testdir({});
  const script = `trap 'echo x >>${folder}/terms' TERM; echo $$ >${folder}/pid; while :; do sleep 0.01; done`;
  await t.rejects(shell(script, { timeoutMs: 1000 }), { code: 'unavailable' });
  t.equal(readFileSync(`${folder}/terms`, 'utf8'), 'x\n', 'it got SIGTERM once');
  await until(() => !isAlive(`${folder}/pid`));
});

t.test('a grandchild that left the group and holds the pipes is not waited for', async (t) => {
  const folder = t.testdir({});
  const script = `setsid sh -c 'echo $$ >${folder}/pid; exec sleep 1000' & trap '' TERM; wait; sleep 1000`;
  await t.rejects(shell(script, { timeoutMs: 1000 }), { code: 'unavailable' });
  process.kill(Number(readFileSync(`${folder}/pid`, 'utf8')), 'SIGKILL');
});

t.test('a flood is ended on either stream', async (t) => {
  await t.rejects(shell('exec yes'), { code: 'unavailable', message: /1000 bytes of output/ });
  await t.rejects(shell('exec yes >&2'), { code: 'unavailable', message: /1000 bytes of error output/ });
  const { stdout } = await shell('head -c 1000 /dev/zero');
  t.equal(stdout.length, 1000, 'as much as is allowed is no flood');
});

t.test('no error holds what the child printed', async (t) => {
  const secret = 'correct horse battery staple';
  const failures = [
    shell(`echo ${secret}; kill -KILL $$`),
    shell(`echo ${secret}; sleep 1000`, { timeoutMs: 200 }),
    shell(`while :; do echo ${secret}; done`),
  ];
  for (const failure of await Promise.allSettled(failures)) {
    if (failure.status !== 'rejected') throw new Error('it succeeded');
    t.type(failure.reason, AppError);
    t.notMatch(inspect(failure.reason, { depth: 9, showHidden: true }), /battery/);
  }
});

t.test('abort without grace ends the child at once', async (t) => {
  const folder = t.testdir({});
  const stop = new AbortController();
  const running = shell(`echo $$ >${folder}/pid; exec sleep 1000`, { signal: stop.signal });
  await until(() => existsSync(`${folder}/pid`) && readFileSync(`${folder}/pid`).length > 0);
  stop.abort();
  await t.rejects(running, { code: 'stopped' });
  await until(() => !isAlive(`${folder}/pid`));
});

t.test('abort with grace lets the child finish, and is an abort all the same', async (t) => {
  const folder = t.testdir({});
  const stop = new AbortController();
  const script = `: >${folder}/begun; while ! test -e ${folder}/go; do sleep 0.01; done; : >${folder}/finished`;
  const running = shell(script, { signal: stop.signal, abortGraceMs: 20_000 });
  await until(() => existsSync(`${folder}/begun`));
  stop.abort();
  await pause(50);
  await shell(`: >${folder}/go`);
  await t.rejects(running, { code: 'stopped' });
  t.ok(existsSync(`${folder}/finished`));
});

t.test('the grace ends', async (t) => {
  const stop = new AbortController();
  const running = shell('exec sleep 1000', { signal: stop.signal, abortGraceMs: 100 });
  stop.abort();
  await t.rejects(running, { code: 'stopped' });
});

t.test('nothing starts after an abort', async (t) => {
  const folder = t.testdir({});
  await t.rejects(shell(`: >${folder}/started`, { signal: AbortSignal.abort() }), { code: 'stopped' });
  t.notOk(existsSync(`${folder}/started`));
});

t.test('descriptors and listeners do not pile up', async (t) => {
  const { signal } = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    listeners++;
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    listeners--;
    removeEventListener.apply(signal, args);
  };
  await shell(':');
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 20; i++) await shell(':', { signal, stdin: Buffer.from('x') });
  t.equal(readdirSync('/proc/self/fd').length, before);
  t.equal(listeners, 0);
});

t.test('a hidden argument', async (t) => {
  const secret = () => Secret.takeFrom(Buffer.from('it is long, and nobody sees it'));
  const others = 'setpriv --reuid=65534 --regid=65534 --clear-groups';

  await t.test('arrives, and others see another in its place', async (t) => {
    const script = `printf '%s\\n' "$1"; tr '\\0' '\\n' < /proc/$$/cmdline; ${others} cat /proc/$$/environ`;
    const { stdout, stderr } = await shell(script, { hiddenArgument: secret() });
    const [first, ...cmdline] = stdout.toString().split('\n');
    t.equal(first, secret().reveal().toString());
    t.strictSame(cmdline, ['/bin/sh', '-c', script, 'sh', '[secret]', '']);
    t.match(stderr, /^cat: \/proc\/\d+\/environ: Permission denied\n$/, 'nor the place where it is');
  });

  await t.test('leaves nothing behind', async (t) => {
    const folders = () => readdirSync('/run').filter((name) => name.startsWith('fetch-luks-key-'));
    const before = folders();
    await shell('exit 3', { hiddenArgument: secret() });
    t.strictSame(folders(), before);
  });

  await t.test('a program that cannot take one does not get it', async (t) => {
    const hiddenArgument = secret();
    // Statically linked: no loader that waits.
    await t.rejects(runner.run('/sbin/ldconfig', ['--version'], { ...options, hiddenArgument }), {
      code: 'unavailable',
      message: /cannot hide an argument: it has ended before/,
    });
    await t.rejects(runner.run('/nonexistent/tool', [], { ...options, hiddenArgument }), {
      code: 'tool-missing',
    });
  });
});
