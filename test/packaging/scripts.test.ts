import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';

/** What dpkg and the packages' own scripts do to a machine. */

const root = resolve(import.meta.dirname, '../..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
// Two packages are built, with other tests beside them.
t.setTimeout(900_000);

/** Below the work tree, as a container's /tmp may be small: 120 MB each. */
mkdirSync(join(root, '.tap'), { recursive: true });
const folder = mkdtempSync(join(root, '.tap/scripts-'));
t.teardown(() => rmSync(folder, { recursive: true }));

const build = [
  '--no-warnings',
  join(root, 'packaging/package.ts'),
  '--architecture',
  'amd64',
  '--output',
  folder,
];
execFileSync(process.execPath, build, { stdio: ['ignore', 'ignore', 'pipe'] });
const deb = (product: string) => join(folder, `${product}_${version}_amd64.deb`);

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
  const given = [work, deb(product), script];
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
  t.match(
    output,
    /^fetch-luks-key: \/etc\/crypttab still names its socket, so \/etc\/fetch-luks-key is left$/m,
  );
  t.end();
});

const SERVICE = '/etc/systemd/system/db.service.d/50-fetch-luks-key-password.conf';

t.test('purged while a service needs it, the sealed secrets stay', (t) => {
  const { status, output } = onCopy(`dpkg -i /new.deb
mkdir -p /etc/fetch-luks-key/credentials/db.service
echo sealed > /etc/fetch-luks-key/credentials/db.service/password.jwe
mkdir -p "$(dirname ${SERVICE})"
printf '[Service]\nLoadCredential=password:/run/fetch-luks-key/credentials/default.sock\n' > ${SERVICE}
dpkg -P fetch-luks-key
cat /etc/fetch-luks-key/credentials/db.service/password.jwe
dpkg -i /new.deb
sed -i 's/^/# /' ${SERVICE}
dpkg -P fetch-luks-key
[ ! -e /etc/fetch-luks-key ] && echo gone`);
  t.equal(status, 0, output);
  t.match(output, `fetch-luks-key: ${SERVICE} still names its socket: that service cannot start any more`);
  t.match(output, `fetch-luks-key: ${SERVICE} still names its socket, so /etc/fetch-luks-key is left`);
  t.match(output, /^sealed$/m);
  t.match(output, /^gone$/m, 'a line that is commented out needs nothing');
  t.end();
});

t.test('removed while crypttab needs it, it says which volumes', (t) => {
  const { status, output } = onCopy(`dpkg -i /new.deb
printf '%s\n' '# /run/fetch-luks-key/' 'data /dev/sdx /run/fetch-luks-key/default.sock luks' \
  ' old /dev/sdy none luks' ' more /dev/sdz /run/fetch-luks-key/default.sock' > /etc/crypttab
dpkg -r fetch-luks-key 2>&1 | sed 's/^/removed: /'
dpkg -i /new.deb
rm /etc/crypttab
dpkg -r fetch-luks-key 2>&1 | sed 's/^/again: /'`);
  t.equal(status, 0, output);
  t.match(
    output,
    /^removed: fetch-luks-key: \/etc\/crypttab still names its socket for data more: from now on these ask for a passphrase, or fail with headless=1$/m,
  );
  t.notMatch(output, /^again: fetch-luks-key: /m, 'nobody needs it: nothing is said');
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
