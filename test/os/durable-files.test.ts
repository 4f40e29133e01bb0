import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { durableFiles } from '../../src/os/durable-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'durable-'));
t.teardown(() => rmSync(folder, { recursive: true }));

t.test('lines are added to a file of its owner alone', async (t) => {
  const path = join(folder, 'lines');
  t.same(durableFiles.lines(path), []);
  t.equal(durableFiles.size(path), null);
  durableFiles.append(path, ['one']);
  durableFiles.append(path, ['two', 'three']);
  t.same(durableFiles.lines(path), ['one', 'two', 'three']);
  t.equal(durableFiles.size(path), 14);
  t.equal(statSync(path).mode & 0o777, 0o600);
});

t.test('a line that was cut off is no line, and the next one does not run into it', async (t) => {
  const path = join(folder, 'cut');
  writeFileSync(path, 'one\ntw');
  t.same(durableFiles.lines(path), ['one']);
  durableFiles.append(path, ['three']);
  t.equal(readFileSync(path, 'utf8'), 'one\nthree\n');
});

t.test('a new file replaces an old one and gets another name', async (t) => {
  const [from, to] = [join(folder, 'new'), join(folder, 'old')];
  writeFileSync(from, 'left behind');
  durableFiles.create(from);
  t.equal(durableFiles.size(from), 0);
  durableFiles.rename(from, to);
  t.equal(durableFiles.size(from), null);
  t.equal(durableFiles.size(to), 0);
});

t.test('new contents in one go: mode, owner and link stay', async (t) => {
  const [file, link] = [join(folder, 'crypttab'), join(folder, 'crypttab-link')];
  durableFiles.replace(file, Buffer.from('fresh'));
  t.equal(statSync(file).mode & 0o777, 0o600, 'a new one is its owner’s alone');
  chmodSync(file, 0o644);
  chownSync(file, 12, 34);
  symlinkSync('crypttab', link);
  durableFiles.replace(link, Buffer.from('again'));
  t.ok(lstatSync(link).isSymbolicLink());
  const { mode, uid, gid } = statSync(file);
  t.strictSame([readFileSync(file, 'utf8'), mode & 0o777, uid, gid], ['again', 0o644, 12, 34]);
  t.throws(() => durableFiles.replace(join(folder, 'no', 'such'), Buffer.from('x')), { code: 'unavailable' });
});

t.test('what lies beside the file is somebody’s', async (t) => {
  const file = join(folder, 'fstab');
  writeFileSync(`${file}.new`, 'somebody’s own');
  durableFiles.replace(file, Buffer.from('fresh'));
  t.equal(readFileSync(file, 'utf8'), 'fresh');
  t.equal(readFileSync(`${file}.new`, 'utf8'), 'somebody’s own');
  t.strictSame(
    readdirSync(folder).filter((name) => name.startsWith('fstab')),
    ['fstab', 'fstab.new'],
  );
});

t.test('no room: the old contents stay, and nothing beside them', async (t) => {
  const full = join(folder, 'full');
  mkdirSync(full);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8k', 'tmpfs', full]);
  t.teardown(() => execFileSync('umount', [full]));
  const file = join(full, 'file');
  durableFiles.replace(file, Buffer.alloc(4096, 'a'));
  t.throws(() => durableFiles.replace(file, Buffer.alloc(8192, 'b')), {
    code: 'unavailable',
    message: /ENOSPC/,
  });
  t.strictSame(readdirSync(full), ['file']);
  t.ok(readFileSync(file).equals(Buffer.alloc(4096, 'a')));
});

t.test('what cannot be written is unavailable, and names the file', async (t) => {
  const path = join(folder, 'missing', 'lines');
  t.throws(() => durableFiles.append(path, ['one']), { code: 'unavailable', message: `${path}: ENOENT` });
  symlinkSync(join(folder, 'elsewhere'), join(folder, 'link'));
  t.throws(() => durableFiles.append(join(folder, 'link'), ['one']), {
    code: 'unavailable',
    message: /ELOOP/,
  });
});

t.test('the folder may be a link, as a service’s state is with DynamicUser=, the file may not', async (t) => {
  const [real, link] = [join(folder, 'private'), join(folder, 'state')];
  mkdirSync(real);
  symlinkSync('private', link);
  durableFiles.append(join(link, 'lines'), ['one']);
  durableFiles.create(join(link, 'new'));
  durableFiles.rename(join(link, 'new'), join(link, 'renamed'));
  durableFiles.makeFolder(join(link, 'backups'));
  t.same(readdirSync(real).toSorted(), ['backups', 'lines', 'renamed']);
  symlinkSync('lines', join(link, 'pointer'));
  t.throws(() => durableFiles.append(join(link, 'pointer'), ['two']), {
    code: 'unavailable',
    message: /ELOOP/,
  });
});

t.test('a path without a folder is in this one, and one below / in that', async (t) => {
  const before = process.cwd();
  t.teardown(() => process.chdir(before));
  process.chdir(folder);
  durableFiles.append('beside', ['one']);
  durableFiles.replace('beside', Buffer.from('two'));
  t.equal(readFileSync(join(folder, 'beside'), 'utf8'), 'two');
  const atTop = `/durable-${process.pid}`;
  t.teardown(() => rmSync(atTop, { force: true }));
  durableFiles.create(atTop);
  t.equal(durableFiles.size(atTop), 0);
});
