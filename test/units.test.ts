import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import t from 'tap';
import { lockName } from '../src/tpm/sequence.ts';

const names = ['fetch-luks-key@.socket', 'fetch-luks-key@.service'] as const;
const folder = resolve(import.meta.dirname, '../units');

/** Directives of a unit, each with all values that it was given. */
function directives(name: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const line of readFileSync(`${folder}/${name}`, 'utf8').split('\n')) {
    const [, key, value] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? [];
    if (key === undefined || value === undefined) continue;
    found.set(key, [...(found.get(key) ?? []), value]);
  }
  return found;
}

const socket = directives('fetch-luks-key@.socket');
const service = directives('fetch-luks-key@.service');

/** systemd-analyze checks that what is to be executed exists: here the program may not be installed. */
function withStandIn(copy: string): void {
  cpSync(folder, copy, { recursive: true });
  const file = `${copy}/fetch-luks-key@.service`;
  writeFileSync(file, readFileSync(file, 'utf8').replace('/usr/bin/fetch-luks-key', '/bin/true'));
}

function analyze(folder: string, ...args: string[]) {
  return spawnSync('systemd-analyze', args, { cwd: folder, encoding: 'utf8' });
}

/** Other units of this machine that are wrong do not count. */
const verify = ['verify', '--man=no', '--recursive-errors=no', ...names.map((name) => `./${name}`)];

t.test('systemd finds nothing to say about the units', async (t) => {
  const copy = t.testdir({});
  withStandIn(copy);
  const { status, stderr } = analyze(copy, ...verify);
  t.equal(status, 0, 'valid', { stderr });
});

t.test('and would, if a unit were wrong', async (t) => {
  const copy = t.testdir({});
  withStandIn(copy);
  const file = `${copy}/fetch-luks-key@.service`;
  writeFileSync(file, `${readFileSync(file, 'utf8')}\nNoSuchDirective=yes\n`);
  const { status, stderr } = analyze(copy, ...verify);
  t.not(status, 0);
  t.match(stderr, 'NoSuchDirective');
});

for (const [name, most] of [
  ['luks-key-server.service', 1.5],
  ['fetch-luks-key-keepalive.service', 2],
  ['fetch-luks-key-credential@.service', 2],
  ['fetch-luks-key-encrypted.service', 2],
] as const) {
  t.test(`${name} is valid, with an exposure of at most ${most}`, async (t) => {
    const copy = t.testdir({});
    cpSync(folder, copy, { recursive: true });
    for (const file of [
      'luks-key-server.service',
      'fetch-luks-key-keepalive.service',
      'fetch-luks-key-act@.service',
      'fetch-luks-key-credential@.service',
      'fetch-luks-key-encrypted.service',
    ]) {
      const text = readFileSync(`${copy}/${file}`, 'utf8');
      writeFileSync(
        `${copy}/${file}`,
        text.replaceAll(/\/usr\/bin\/(fetch-luks-key|luks-key-server)/g, '/bin/true'),
      );
    }
    const { status, stderr } = analyze(copy, 'verify', '--man=no', '--recursive-errors=no', `./${name}`);
    t.equal(status, 0, stderr);
    const { stdout } = analyze(copy, 'security', '--offline=true', '--no-pager', `./${name}`);
    const exposure = Number(/Overall exposure level for .*: ([0-9.]+)/.exec(stdout)?.[1]);
    t.ok(exposure <= most, `exposure ${exposure}`);
  });
}

t.test('the sandbox leaves an exposure of at most 2.0', async (t) => {
  const copy = t.testdir({});
  withStandIn(copy);
  const { stdout } = analyze(copy, 'security', '--offline=true', '--no-pager', `./${names[1]}`);
  const exposure = Number(/Overall exposure level for .*: ([0-9.]+)/.exec(stdout)?.[1]);
  t.ok(exposure <= 2, `exposure ${exposure}`);

  const { stdout: json } = analyze(copy, 'security', '--offline=true', '--json=short', `./${names[1]}`);
  const open = (JSON.parse(json) as { set: boolean | null; name: string; exposure: string | null }[])
    .filter((test) => test.exposure !== null)
    .map((test) => test.name)
    .sort();
  // What remains open is what the unit gives a reason for: anything else is news.
  t.same(open, [
    'DeviceAllow=',
    'IPAddressDeny=',
    'MemoryDenyWriteExecute=',
    'PrivateDevices=',
    'PrivateNetwork=',
    'PrivateUsers=',
    'ProcSubset=',
    'RestrictAddressFamilies=~AF_(INET|INET6)',
    'RestrictAddressFamilies=~AF_UNIX',
    'User=/DynamicUser=',
  ]);
});

t.test('what acts upon a verdict is valid', async (t) => {
  const copy = t.testdir({});
  cpSync(folder, copy, { recursive: true });
  const units = ['./fetch-luks-key-act@.path', './fetch-luks-key-act@.service'];
  const { status, stderr } = analyze(copy, 'verify', '--man=no', '--recursive-errors=no', ...units);
  t.equal(status, 0, stderr);
});

t.test(
  'the keep-alive daemon stops before the network does, with its last words, and not for long',
  async (t) => {
    const keepalive = directives('fetch-luks-key-keepalive.service');
    const after = (keepalive.get('After') ?? []).join(' ').split(' ');
    for (const target of ['network.target', 'network-online.target']) t.ok(after.includes(target), target);
    const [jobs = '', announces] = keepalive.get('ExecStop') ?? [];
    t.match(
      jobs,
      /^-\+\/usr\/bin\/nsenter --mount=\/proc\/1\/ns\/mnt /,
      'systemd cannot be reached from inside',
    );
    t.equal(announces, `-/bin/sh -c '[ -z "$$MAINPID" ] || exec /usr/bin/fetch-luks-key announce-reboot'`);
    t.same(keepalive.get('TimeoutStopSec'), ['10s']);
    t.notOk(keepalive.has('DefaultDependencies'), 'a shutdown stops it');
    // Not the scripts of fetch-luks-key-act@.service, which are run with all privileges; nor what a volume may hold.
    t.same(keepalive.get('ReadWritePaths'), [
      '-/etc/fetch-luks-key/audit-heads -/etc/fetch-luks-key/server-keys',
    ]);
    // An identity that the TPM protects is opened under the lock that the handlers take.
    const locks = ['/dev/tpmrm0', '/dev/tpm0'].map(
      (path) => `-/run/fetch-luks-key/${lockName(`device:${path}`)}.lock`,
    );
    t.same(keepalive.get('BindPaths'), ['-/run/fetch-luks-key/act', locks.join(' ')]);
    // Nobody is there who would do what root asks for.
    t.same(keepalive.get('TemporaryFileSystem'), ['/run:ro /var:ro']);
    for (const name of ['StateDirectory', 'RuntimeDirectory']) t.notOk(keepalive.has(name), name);
  },
);

t.test('ordered before every volume, after nothing that waits for one', async (t) => {
  for (const [name, unit] of [
    ['socket', socket],
    ['service', service],
  ] as const) {
    t.same(unit.get('DefaultDependencies'), ['no'], `${name}: no default dependencies`);
    t.same(unit.get('Conflicts'), ['shutdown.target'], `${name}: stops at shutdown`);
    t.ok(unit.get('Before')?.includes('shutdown.target'), `${name}: before it`);
    t.notOk(unit.has('After') || unit.has('Requires') || unit.has('Requisite'), `${name}: waits for nothing`);
  }
  t.same(socket.get('Wants'), ['cryptsetup-pre.target']);
  t.ok(socket.get('Before')?.includes('cryptsetup-pre.target'));
  t.same(socket.get('WantedBy'), ['sysinit.target']);
  t.same(socket.get('DefaultInstance'), ['default']);
  t.same(socket.get('ListenStream'), ['/run/fetch-luks-key/%i.sock']);
});

t.test('nothing brings in a mount, systemd-tmpfiles, or deletes the sockets', async (t) => {
  const harmful = ['PrivateTmp', 'DynamicUser', 'RuntimeDirectory', 'StateDirectory', 'CacheDirectory'];
  harmful.push('LogsDirectory', 'ConfigurationDirectory', 'WorkingDirectory', 'RootDirectory', 'RootImage');
  harmful.push('RequiresMountsFor', 'MemoryDenyWriteExecute');
  for (const name of harmful) t.notOk(service.has(name) || socket.has(name), `no ${name}=`);
});

t.test('no limit at which systemd would answer by itself', async (t) => {
  t.same(socket.get('Accept'), ['yes']);
  t.same(socket.get('MaxConnections'), ['4096']);
  t.same(socket.get('TriggerLimitIntervalSec'), ['0']);
  t.notOk(socket.has('MaxConnectionsPerSource'));
});

t.test('only root may ask; keys reach neither cores nor swap; TPM tools are not signalled', async (t) => {
  t.same(socket.get('SocketMode'), ['0600']);
  t.same(socket.get('DirectoryMode'), ['0700']);
  t.same(service.get('CapabilityBoundingSet'), ['']);
  t.same(service.get('LimitCORE'), ['1']);
  t.same(service.get('MemorySwapMax'), ['0']);
  t.same(service.get('KillMode'), ['mixed']);
  t.same(service.get('CollectMode'), ['inactive-or-failed']);
  const unset = (service.get('UnsetEnvironment') ?? []).join(' ').split(' ');
  for (const name of ['NODE_OPTIONS', 'SSLKEYLOGFILE', 'TPM2TOOLS_TCTI', 'TSS2_LOG'])
    t.ok(unset.includes(name), name);
});

t.test('who asks for a secret and does not get all of it gets more than systemd takes', async (t) => {
  const [name, folder] = ['fetch-luks-key-credential@', '/run/fetch-luks-key/credentials'];
  const [secrets, handler] = [directives(`${name}.socket`), directives(`${name}.service`)];
  t.same(handler.get('StandardInput'), ['socket'], 'the connection is there for ExecStopPost= too');
  t.same(handler.get('StandardOutput'), ['journal'], 'which it would be as well');
  t.match(handler.get('ExecStopPost')?.[0], /^\/bin\/sh -c .*\$\$SERVICE_RESULT .* 1048577 \/dev\/zero >&0/);
  t.same(secrets.get('ListenStream'), [`${folder}/%i.sock`]);
  t.same(secrets.get('SocketMode'), ['0600']);
  t.same(secrets.get('MaxConnections'), ['4096']);
  t.same(secrets.get('TriggerLimitIntervalSec'), ['0']);
  t.notOk(secrets.has('MaxConnectionsPerSource'));
  for (const unit of [secrets, handler]) {
    t.same(unit.get('DefaultDependencies'), ['no']);
    t.same(unit.get('Conflicts'), ['shutdown.target']);
  }
  // The same sandbox as for volumes, without their devices.
  const same = [
    'CapabilityBoundingSet',
    'SystemCallFilter',
    'UnsetEnvironment',
    'LimitCORE',
    'MemorySwapMax',
  ];
  for (const key of [...same, 'ProtectSystem', 'ReadOnlyPaths', 'ReadWritePaths', 'DevicePolicy', 'UMask'])
    t.same(handler.get(key), service.get(key), key);
  t.notOk(handler.get('DeviceAllow')?.some((device) => device.startsWith('block')));
});
