import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { files } from '../../src/os/files.ts';

const folder = t.testdir({ 'a.txt': 'hello', empty: '', sub: { z: '', b: '', a: '' } });
const at = (name: string) => join(folder, name);

t.test('read', async (t) => {
  t.equal((await files.read(at('a.txt'), 5))?.toString(), 'hello', 'exactly as long as allowed');
  t.equal((await files.read(at('empty'), 5))?.length, 0);
  t.equal(await files.read(at('absent'), 5), null);
  t.equal(await files.read(at('a.txt/below-a-file'), 5), null);
  await t.rejects(files.read(at('a.txt'), 4), { code: 'bad-config', message: /at most 4 bytes/ });
  await t.rejects(files.read(at('sub'), 5), { code: 'bad-config', message: /expected a file, got a folder/ });
  await t.rejects(files.read('/dev/zero', 5), { code: 'bad-config', message: /got a device/ });
});

t.test('read: a file of the kernel says that it is empty and is not', async (t) => {
  const status = await files.read('/proc/self/status', 64 * 1024);
  t.match(status?.toString(), /^Name:.*\nUmask:/);
});

t.test('read: a symbolic link leads to its file, a loop to an error', async (t) => {
  symlinkSync(at('a.txt'), at('link'));
  symlinkSync(at('loop'), at('loop'));
  t.equal((await files.read(at('link'), 5))?.toString(), 'hello');
  await t.rejects(files.read(at('loop'), 5), { code: 'bad-config', message: /ELOOP/ });
});

t.test('a pipe that nobody writes to is refused, not waited for', async (t) => {
  execFileSync('/usr/bin/mkfifo', [at('pipe')]);
  await t.rejects(files.read(at('pipe'), 5), { code: 'bad-config', message: /got a pipe/ });
  await t.rejects(files.readRange(at('pipe'), 0, 5), { code: 'unavailable', message: /got a pipe/ });
});

t.test('readRange', async (t) => {
  writeFileSync(at('big'), Buffer.alloc(3 * 1024 * 1024, 'abc'));
  t.equal((await files.readRange(at('a.txt'), 1, 3)).toString(), 'ell');
  t.equal((await files.readRange(at('a.txt'), 3, 100)).toString(), 'lo', 'fewer at the end');
  t.equal((await files.readRange(at('a.txt'), 100, 5)).length, 0, 'none after it');
  t.equal((await files.readRange(at('big'), 1, 2 * 1024 * 1024)).length, 2 * 1024 * 1024);
  await t.rejects(files.readRange(at('absent'), 0, 5), { code: 'unavailable', message: /no such file/ });
  await t.rejects(files.readRange(at('sub'), 0, 5), { code: 'unavailable', message: /got a folder/ });
});

t.test('what is read is nobody else’s memory', async (t) => {
  const bytes = await files.readRange(at('a.txt'), 0, 5);
  t.equal(bytes.buffer.byteLength, 5, 'not a part of the shared pool');
});

t.test('list', async (t) => {
  t.strictSame(await files.list(at('sub')), ['a', 'b', 'z']);
  t.strictSame(await files.list(at('absent')), []);
  mkdirSync(at('none'));
  t.strictSame(await files.list(at('none')), []);
  await t.rejects(files.list(at('loop')), { code: 'bad-config', message: /ELOOP/ });
});

t.test('mode', async (t) => {
  chmodSync(at('a.txt'), 0o640);
  t.equal(await files.mode(at('a.txt')), 0o640);
  t.equal(await files.mode(at('absent')), null);
});
