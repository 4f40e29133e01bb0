import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { lockFolder, locksIn } from '../../src/os/locks.ts';

const never = new AbortController().signal;
const module = new URL('../../src/os/locks.ts', import.meta.url).pathname;

/** Another process that takes the lock, notes `note`, says so, and holds the lock until it is killed. */
async function holder(t: Test, folder: string, note: string): Promise<{ kill(): Promise<void> }> {
  const script = `
    const { locksIn } = await import(${JSON.stringify(module)});
    const lock = await locksIn(${JSON.stringify(folder)}).acquire('one', 5000, new AbortController().signal);
    lock.note(${JSON.stringify(note)});
    console.log('held');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  const kill = () => {
    child.kill('SIGKILL');
    return gone;
  };
  t.teardown(kill);
  await new Promise((done) => child.stdout.once('data', done));
  return { kill };
}

t.test('one holder at a time; the next gets the lock as soon as it is free', async (t) => {
  const locks = locksIn(`${t.testdir({})}/locks`);
  const first = await locks.acquire('one', 0, never);
  await t.rejects(locks.acquire('one', 0, never), { code: 'unavailable', message: /one\.lock: held/ });
  await t.resolves(
    locks.acquire('two', 0, never).then((lock) => lock[Symbol.dispose]()),
    'another name',
  );
  const second = locks.acquire('one', 60_000, never);
  await pause(30);
  first[Symbol.dispose]();
  (await second)[Symbol.dispose]();
  first[Symbol.dispose]();
});

t.test('waiting ends when it is told to', async (t) => {
  const locks = locksIn(t.testdir({}));
  using _held = await locks.acquire('one', 0, never);
  const stop = new AbortController();
  const waiting = locks.acquire('one', 60_000, stop.signal);
  await pause(20);
  stop.abort();
  await t.rejects(waiting, { code: 'stopped' });
  await t.rejects(locks.acquire('two', 0, stop.signal), { code: 'stopped' }, 'not even tried');
});

t.test('no descriptor stays open after a lock, had or not', async (t) => {
  const locks = locksIn(t.testdir({}));
  const count = () => readdirSync('/proc/self/fd').length;
  const before = count();
  const held = await locks.acquire('one', 0, never);
  await t.rejects(locks.acquire('one', 0, never), { code: 'unavailable' });
  held[Symbol.dispose]();
  t.equal(count(), before);
});

t.test('a note outlives a holder that was killed, not one that cleared it', async (t) => {
  const folder = t.testdir({});
  const locks = locksIn(folder);
  const child = await holder(t, folder, 'session 0x02000001');
  await t.rejects(locks.acquire('one', 0, never), { code: 'unavailable' }, 'held by the other process');
  await child.kill();
  const next = await locks.acquire('one', 5000, never);
  t.equal(next.leftBehind, 'session 0x02000001');
  next.note('short');
  t.equal(readFileSync(`${folder}/one.lock`, 'utf8'), 'short', 'nothing of the longer note stays');
  next.note('');
  next[Symbol.dispose]();
  const last = await locks.acquire('one', 0, never);
  t.equal(last.leftBehind, '');
  last[Symbol.dispose]();
});

t.test('folder and file are for their owner only, and a folder that is there stays as it is', async (t) => {
  const parent = t.testdir({});
  const mode = (path: string) => statSync(path).mode & 0o777;
  (await locksIn(`${parent}/new`).acquire('one', 0, never))[Symbol.dispose]();
  t.equal(mode(`${parent}/new`), 0o700);
  t.equal(mode(`${parent}/new/one.lock`), 0o600);
  mkdirSync(`${parent}/old`);
  chmodSync(`${parent}/old`, 0o755);
  (await locksIn(`${parent}/old`).acquire('one', 0, never))[Symbol.dispose]();
  t.equal(mode(`${parent}/old`), 0o755);
});

t.test('a link in place of the file is not followed', async (t) => {
  const folder = t.testdir({});
  symlinkSync(`${folder}/elsewhere`, `${folder}/one.lock`);
  await t.rejects(locksIn(folder).acquire('one', 0, never), { code: 'bad-config', message: /ELOOP/ });
  t.notOk(existsSync(`${folder}/elsewhere`));
});

t.test('lockFolder', async (t) => {
  t.equal(lockFolder(0, { XDG_RUNTIME_DIR: '/run/user/0' }), '/run/fetch-luks-key');
  t.equal(lockFolder(1000, { XDG_RUNTIME_DIR: '/run/user/1000' }), '/run/user/1000/fetch-luks-key');
  t.throws(() => lockFolder(1000, {}), { code: 'bad-config', message: /XDG_RUNTIME_DIR/ });
  t.throws(() => lockFolder(1000, { XDG_RUNTIME_DIR: 'relative' }), { code: 'bad-config' });
});
