import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { type Ended, fails, fetchLuksKey, startFetchLuksKey } from '../support/command-line.ts';
import { BY_STDIN, type Machine, machineWith } from '../support/enrolled.ts';
import { addKeyslot, PASSPHRASE, startOf } from '../support/luks.ts';
import { startTang } from '../support/tang.ts';

t.setTimeout(900_000);

const tang = await startTang(t);
const POLICY = ['--tang', tang.url, '-y', ...BY_STDIN];

/** What may not change when enrolling fails. */
function everything({ image, crypttab, etc }: Machine): object {
  return {
    state: existsSync(image.path) && readFileSync(image.path).toString('latin1'),
    crypttab: existsSync(crypttab) && readFileSync(crypttab, 'latin1'),
    left: readdirSync(etc, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => name),
  };
}

/** Fails in one line, after what there is to note. */
function isTold(t: Test, title: string, ended: Ended, status: number, line: RegExp): void {
  const stderr = ended.stderr.replace(/^(?:note: .*\n)+/, '');
  fails(t, title, { ...ended, stderr }, status, line);
}

/** The same, and leaves all as it was. */
async function isRefused(
  t: Test,
  title: string,
  machine: Machine,
  expected: readonly [status: number, line: RegExp],
  input = PASSPHRASE,
  args = POLICY,
): Promise<void> {
  const before = everything(machine);
  isTold(t, title, await machine.command('enroll', args, input), ...expected);
  t.ok(JSON.stringify(everything(machine)) === JSON.stringify(before), `${title}: all is as it was`);
}

/** A machine whose crypttab has this for a device. */
async function withDevice(t: Test, device: (folder: string) => string): Promise<Machine> {
  const machine = await machineWith(t);
  writeFileSync(machine.crypttab, `data ${device(t.testdir({ disk: 'x'.repeat(100_000) }))} none luks\n`);
  return machine;
}

t.test('a passphrase that opens nothing; one that is empty and opens it', async (t) => {
  const machine = await machineWith(t);
  await isRefused(
    t,
    'wrong',
    machine,
    [4, /image: this passphrase opens no keyslot \(hint: all of a key file/],
    'x',
  );
  await isRefused(t, 'with a newline', machine, [4, /opens no keyslot/], `${PASSPHRASE}\n`);
  await isRefused(t, 'no such file', machine, [2, /^--unlock-key-file: \/no: no such file/], '', [
    ...POLICY.slice(0, 3),
    '--unlock-key-file',
    '/no',
  ]);
  await isRefused(
    t,
    'no terminal',
    machine,
    [4, /^no terminal to ask at: Passphrase of .*\(hint: give --unlock/],
    '',
    POLICY.slice(0, 3),
  );
  addKeyslot(machine.image, '');
  await isRefused(t, 'empty', machine, [
    4,
    /image: the empty passphrase opens it, for everybody \(hint: take it out/,
  ]);
});

t.test('a device that is none of LUKS2', async (t) => {
  await isRefused(t, 'text', await withDevice(t, (folder) => `${folder}/disk`), [
    3,
    /disk: this is not LUKS/,
  ]);
  const loop = await withDevice(t, (folder) => {
    symlinkSync('loop2', `${folder}/loop1`);
    symlinkSync('loop1', `${folder}/loop2`);
    return `${folder}/loop1`;
  });
  await isRefused(t, 'a loop of links', loop, [5, /loop1: cannot be read \(ELOOP\)/]);
  await isRefused(t, 'none', await withDevice(t, () => '/no/such'), [
    5,
    /^\/no\/such: no such file or device/,
  ]);
  const luks1 = await machineWith(t, {}, ['--type', 'luks1']);
  await isRefused(t, 'LUKS1', luks1, [
    3,
    /expected LUKS2, got LUKS1.*\(hint: .*cryptsetup convert --type luks2/,
  ]);
});

t.test('a header without room', async (t) => {
  const small = ['--luks2-keyslots-size', '512k', '--luks2-metadata-size', '16k'];
  const machine = await machineWith(t, {}, small);
  addKeyslot(machine.image, 'second');
  await isRefused(t, 'for a keyslot', machine, [4, /image: no free keyslot \(hint: cryptsetup luksKillSlot/]);
  const crowded = await machineWith(t, {}, small);
  const junk = JSON.stringify({ type: 'junk', keyslots: [], text: 'x'.repeat(10_000) });
  execFileSync('cryptsetup', ['token', 'import', '--json-file', '-', crowded.image.path], { input: junk });
  const before = everything(crowded) as { crypttab: string };
  isTold(
    t,
    'for a token',
    await crowded.command('enroll', POLICY),
    4,
    /no room for a token of \d+ bytes.*--file/,
  );
  t.equal(crowded.state(), 'keyslots 0 tokens 0 enrolled 0 unfinished no', 'the keyslot is gone again');
  t.equal((everything(crowded) as { crypttab: string }).crypttab, before.crypttab);
});

t.test('a read-only image', async (t) => {
  const machine = await machineWith(t);
  const at = machine.image.path;
  execFileSync('mount', ['--bind', at, at]);
  t.teardown(() => execFileSync('umount', [at]));
  execFileSync('mount', ['-o', 'remount,ro,bind', at]);
  await isRefused(t, 'read-only', machine, [5, /image: cannot be written, is it read-only\?/]);
});

t.test('nobody answers: all is undone', async (t) => {
  const machine = await machineWith(t);
  await isRefused(
    t,
    'no such server',
    machine,
    [5, /tang http:\/\/127\.0\.0\.1:1\/adv\/: connection refused/],
    PASSPHRASE,
    ['--tang', 'http://127.0.0.1:1', '-y', ...BY_STDIN],
  );
});

t.test('what cannot be proven is undone, whichever step it was', async (t) => {
  const machine = await machineWith(t);
  writeFileSync(`${machine.etc}/config.yaml`, 'volumes: { data: { allow: [tpm2] } }\n');
  const refused = await machine.command('enroll', POLICY);
  isTold(t, 'refused by its own configuration', refused, 4, /image token 0: .*allow/);
  t.equal(machine.state(), 'keyslots 0 tokens none enrolled 0 unfinished no');
  writeFileSync(`${machine.etc}/config.yaml`, '');
  const another = await machineWith(t);
  const wrong = await machine.command('enroll', [...POLICY, '--socket', another.path]);
  isTold(t, 'a socket that answers something else', wrong, 4, /key\.sock: what it answers does not open /);
  t.equal(machine.state(), 'keyslots 0 tokens none enrolled 0 unfinished no');
  t.match(readFileSync(machine.crypttab, 'utf8'), / none luks # ours$/m);
  t.notOk(existsSync(`${machine.etc}/commitments/data`));
});

t.test('no room left on the file system of /etc', async (t) => {
  const machine = await machineWith(t);
  for (const name of ['commitments', 'unfinished']) {
    const full = `${machine.etc}/${name}`;
    mkdirSync(full, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4k,mode=0700', 'tmpfs', full]);
    writeFileSync(`${full}/ballast`, 'x'.repeat(4096));
    isTold(t, name, await machine.command('enroll', POLICY), 5, new RegExp(`${name}/data.*: ENOSPC$`));
    execFileSync('umount', [full]);
    t.equal(machine.state(), 'keyslots 0 tokens none enrolled 0 unfinished no', name);
    t.match(readFileSync(machine.crypttab, 'utf8'), / none luks # ours$/m);
  }
  t.equal((await machine.command('enroll', POLICY)).status, 0, 'with room it goes');
});

t.test('no room left for crypttab, or for the list of what is enrolled', async (t) => {
  const machine = await machineWith(t);
  const folder = t.testdir({ full: {} });
  const full = `${folder}/full`;
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12k', 'tmpfs', full]);
  t.teardown(() => execFileSync('umount', [full]));
  const crypttab = `${full}/crypttab`;
  const line = readFileSync(machine.crypttab);
  writeFileSync(crypttab, line);
  writeFileSync(`${full}/ballast`, 'x'.repeat(8192));
  const places = ['--etc', machine.etc, '--crypttab', crypttab, '--socket', machine.path];
  const ended = await fetchLuksKey(['enroll', 'data', ...places, ...POLICY], PASSPHRASE);
  isTold(t, 'crypttab', ended, 5, /crypttab.*: ENOSPC$/);
  t.equal(machine.state(), 'keyslots 0 tokens none enrolled 0 unfinished no');
  t.ok(readFileSync(crypttab).equals(line), 'whole, and as it was');
  t.strictSame(readdirSync(full).toSorted(), ['ballast', 'crypttab']);
  const enrolled = `${machine.etc}/enrolled`;
  mkdirSync(enrolled);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4k,mode=0700', 'tmpfs', enrolled]);
  writeFileSync(`${enrolled}/ballast`, 'x'.repeat(4096));
  isTold(t, 'enrolled', await machine.command('enroll', POLICY), 5, /enrolled\/data.*: ENOSPC$/);
  execFileSync('umount', [enrolled]);
  t.equal(machine.state(), 'keyslots 0 tokens none enrolled 0 unfinished no');
  t.match(readFileSync(machine.crypttab, 'utf8'), / none luks # ours$/m);
});

t.test('another program holds the header: it is waited for, and said so', async (t) => {
  const machine = await machineWith(t);
  const { path } = machine.image;
  const before = startOf(path, 1024 * 1024);
  // As cryptsetup itself locks an image (libcryptsetup's utils_device_locking.c).
  const holder = spawn('flock', [path, 'sh', '-c', 'echo held; read line'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  t.teardown(() => holder.kill());
  await once(holder.stdout, 'data');
  const places = ['--etc', machine.etc, '--crypttab', machine.crypttab, '--socket', machine.path];
  const enrolling = startFetchLuksKey(t, [
    'enroll',
    'data',
    ...places,
    ...POLICY.slice(0, 3),
    '--unlock-key-file',
    machine.image.keyFile,
  ]);
  await new Promise<void>((resolve) => {
    enrolling.child.stderr?.on('data', (said: Buffer) => {
      if (said.includes('trying the passphrase …')) resolve();
    });
  });
  t.ok(startOf(path, 1024 * 1024).equals(before), 'nothing is written');
  holder.stdin.end('\n');
  const { status, stderr } = await enrolling.ended;
  t.equal(status, 0, stderr);
  t.equal(machine.state(), 'keyslots 0,1 tokens 0 enrolled 1 unfinished no');
});

t.test('two at once: one enrols, the other says so', async (t) => {
  const machine = await machineWith(t);
  const [one, other] = await Promise.all([
    machine.command('enroll', POLICY),
    machine.command('enroll', POLICY),
  ]);
  const [first, second] = one.status === 0 ? [one, other] : [other, one];
  t.equal(first.status, 0, first.stderr);
  isTold(t, 'the second', second, 5, /^enroll: another command is changing things of \/.*crypttab now/);
  t.equal(machine.state(), 'keyslots 0,1 tokens 0 enrolled 1 unfinished no');
});

t.test('a crypttab of all kinds of lines is kept byte for byte', async (t) => {
  const machine = await machineWith(t);
  const other = [
    '# café \xff # data /dev/x none',
    'swap\t/dev/sda2\t/dev/urandom\tswap,cipher=aes-xts-plain64',
    'u UUID=0a1b none luks\r',
    'p PARTUUID="0a\\x20b" - luks,discard',
    '  l   LABEL=name\\040with  none',
    'lonely',
    'two fields',
    '',
  ];
  const ours = `data\t${machine.image.path}  none`;
  const text = (line: string) => Buffer.from([...other, `${line}\r`, '#end'].join('\n'), 'latin1');
  writeFileSync(machine.crypttab, text(ours));
  t.equal((await machine.command('enroll', POLICY)).status, 0);
  const wanted = text(`data\t${machine.image.path}  ${machine.path}  _netdev`);
  t.equal(readFileSync(machine.crypttab, 'latin1'), wanted.toString('latin1'));
  t.ok(await machine.opensBySocket());
  writeFileSync(machine.crypttab, text(`${ours}  luks,keyfile-offset=5`));
  await isRefused(t, 'a conflict', machine, [
    3,
    /crypttab:9: option keyfile-offset=5 does not go with a socket/,
  ]);
});
