import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t, { type Test } from 'tap';

const root = resolve(import.meta.dirname, '../..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
// Two builds of two packages, with other tests beside them.
t.setTimeout(300_000);

/** Below the work tree, as a container's /tmp may be small: 120 MB each. */
const folder = mkdtempSync(join(root, '.tap/package-'));
t.teardown(() => rmSync(folder, { recursive: true }));

const run = (program: string, ...args: string[]) =>
  execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const build = (output: string) =>
  run(process.execPath, '--no-warnings', 'packaging/package.ts', '--output', join(folder, output));
const deb = (output: string, architecture: string) =>
  join(folder, output, `fetch-luks-key_${version}_${architecture}.deb`);
build('first');

t.test('two builds have the same bytes', (t) => {
  build('second');
  for (const architecture of ['amd64', 'arm64']) {
    const [first, second] = ['first', 'second'].map((output) => readFileSync(deb(output, architecture)));
    t.ok(first?.equals(second ?? Buffer.alloc(0)), architecture);
  }
  t.end();
});

// The other one differs in the executable alone, and looking at that takes half a minute.
t.test('lintian finds no error', (t) => {
  const args = ['--allow-root', '--fail-on', 'error', deb('first', 'amd64')];
  const { stdout, status } = spawnSync('lintian', args, { encoding: 'utf8' });
  t.equal(status, 0, stdout);
  t.end();
});

t.test('what it needs is what the executable is linked to, and the tools that it runs', (t) => {
  const field = (name: string) => run('dpkg-deb', '--field', deb('first', 'amd64'), name).trim();
  t.equal(field('Depends'), 'libc6 (>= 2.28), libstdc++6, libatomic1, tpm2-tools');
  run('dpkg-deb', '--extract', deb('first', 'amd64'), join(folder, 'tree'));
  const needed = run('readelf', '--dynamic', join(folder, 'tree/usr/bin/fetch-luks-key'))
    .split('\n')
    .flatMap((line) => /NEEDED.*\[(.*)\]/.exec(line)?.[1] ?? []);
  const known = /^(ld-linux-x86-64\.so|lib(c|m|dl|pthread|gcc_s|stdc\+\+|atomic)\.so)\.\d+$/;
  t.strictSame(
    needed.filter((library) => !known.test(library)),
    [],
  );
  t.ok(needed.includes('libatomic1.so.1') || needed.includes('libatomic.so.1'));
  t.end();
});

t.test('the other processor’s executable is one for it, with the same program', (t) => {
  run('dpkg-deb', '--extract', deb('first', 'arm64'), join(folder, 'arm64'));
  const header = run('readelf', '--file-header', join(folder, 'arm64/usr/bin/fetch-luks-key'));
  t.match(header, /Machine: +AArch64/);
  const program = (file: string) => {
    const bytes = readFileSync(file);
    // The bundle's first line, `require=(…`, and what follows it.
    const at = bytes.indexOf('require=((lazy)');
    return bytes.toString('latin1', at, at + 10_000);
  };
  t.equal(
    program(join(folder, 'arm64/usr/bin/fetch-luks-key')),
    program(join(folder, 'tree/usr/bin/fetch-luks-key')),
  );
  t.end();
});

/** Runs a script as root of a copy of this machine, which is gone with it. */
function onCopy(t: Test, script: string): string {
  // A tmpfs, as the work tree may lie on an overlay itself, which cannot be the upper layer of one.
  const setUp = `set -eu
work=$1; shift
mount -t tmpfs -o size=600m tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root"
cp "$1" "$work/root/new.deb"
mount -t proc proc "$work/root/proc"
exec chroot "$work/root" sh -euc "$2"`;
  const work = mkdtempSync(join(folder, 'copy-'));
  const args = [
    '--mount',
    '--propagation=private',
    'sh',
    '-c',
    setUp,
    'sh',
    work,
    deb('first', 'amd64'),
    script,
  ];
  const { stdout, stderr, status } = spawnSync('unshare', args, {
    encoding: 'utf8',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' },
  });
  t.equal(status, 0, stderr);
  return stdout + stderr;
}

const OLDER = `dpkg-deb -R /new.deb /older && sed -i 's/^Version: .*/Version: 0.0.1/' /older/DEBIAN/control
dpkg-deb -Znone -b /older /older.deb; rm -r /older`;

t.test('installed, upgraded, removed and purged, every file of the user stays until the last', (t) => {
  const output = onCopy(
    t,
    `${OLDER}
groupdel tss 2>/dev/null || true
dpkg -i /older.deb
getent group tss
stat -c '%a %U %n' /etc/fetch-luks-key /etc/fetch-luks-key/volumes /usr/bin/fetch-luks-key
echo sealed > /etc/fetch-luks-key/volumes/data.jwe
echo '{}' > /etc/fetch-luks-key/config.yaml
SYSTEMD_OFFLINE=1 systemctl enable fetch-luks-key@.socket
dpkg -i /new.deb
fetch-luks-key --version
cat /etc/fetch-luks-key/volumes/data.jwe
readlink /etc/systemd/system/sysinit.target.wants/fetch-luks-key@default.socket
dpkg -r fetch-luks-key
cat /etc/fetch-luks-key/volumes/data.jwe
[ ! -e /usr/bin/fetch-luks-key ] && echo removed
dpkg -P fetch-luks-key
[ ! -e /etc/fetch-luks-key ] && echo purged
ls /etc/systemd/system/sysinit.target.wants/ | grep fetch-luks-key || echo no link is left
find / -xdev -name '*fetch-luks-key*' -not -path '/proc/*' -not -path '${root}/*' -newer /new.deb -not -path '/var/log/*'`,
  );
  t.match(output, /^tss:x:\d+:/m);
  t.match(output, /^700 root \/etc\/fetch-luks-key\n700 root \/etc\/fetch-luks-key\/volumes\n755 root /m);
  t.match(output, new RegExp(`^fetch-luks-key ${version}\\nsealed$`, 'm'), 'upgraded, nothing lost');
  t.match(output, /^\S+\/systemd\/system\/fetch-luks-key@\.socket$/m, 'what was enabled stays enabled');
  t.match(output, /^sealed\nremoved$/m, 'removed, the sealed key is there');
  t.match(output, /^purged\nno link is left$/m);
  t.end();
});

t.test('purged while crypttab needs it, the sealed keys stay', (t) => {
  const output = onCopy(
    t,
    `dpkg -i /new.deb
echo sealed > /etc/fetch-luks-key/volumes/data.jwe
echo 'data /dev/sdx /run/fetch-luks-key/default.sock luks' > /etc/crypttab
dpkg -P fetch-luks-key
cat /etc/fetch-luks-key/volumes/data.jwe`,
  );
  t.match(output, /^sealed$/m);
  t.match(output, /crypttab still names its socket, so \/etc\/fetch-luks-key is left/);
  t.end();
});
