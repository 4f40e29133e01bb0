import { execFileSync } from 'node:child_process';
import { fstatSync, readlinkSync } from 'node:fs';
import t from 'tap';
import { memoryFiles } from '../../src/os/memory-files.ts';

t.test('a memory file holds what it was made with, and what others write by its path', async (t) => {
  using file = memoryFiles.create(Buffer.from('first'));
  t.equal(file.read(5).toString(), 'first');
  t.equal(file.read(5).toString(), 'first', 'reading does not move anything');
  const path = `/proc/${process.pid}/fd/${file.fd}`;
  t.match(readlinkSync(path), /^\/memfd:/, 'it has no path of its own');
  execFileSync('/bin/sh', ['-c', `printf other >${path}`]);
  t.equal(file.read(100).toString(), 'other');
});

t.test('a memory file may be empty, and large', async (t) => {
  using empty = memoryFiles.create();
  t.equal(empty.read(0).length, 0);
  const megabyte = Buffer.alloc(1024 * 1024, 'abc');
  using large = memoryFiles.create(megabyte);
  t.ok(large.read(megabyte.length).equals(megabyte));
});

t.test('reading is limited', async (t) => {
  using file = memoryFiles.create(Buffer.from('12345'));
  t.throws(() => file.read(4), { code: 'unavailable', message: /at most 4 bytes, got 5/ });
});

t.test('disposing closes it once, even when the descriptor has been given out again', async (t) => {
  const file = memoryFiles.create();
  file[Symbol.dispose]();
  t.throws(() => fstatSync(file.fd), { code: 'EBADF' });
  using next = memoryFiles.create(Buffer.from('next'));
  t.equal(next.fd, file.fd);
  file[Symbol.dispose]();
  t.equal(next.read(4).toString(), 'next');
});
