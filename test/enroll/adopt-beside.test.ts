import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { fails } from '../support/command-line.ts';
import { BY_STDIN, machineWith } from '../support/enrolled.ts';
import { adopt, adoptWith, cryptenroll, lineIs, withKeyFile, writeLine } from '../support/foreign-keys.ts';
import { addKeyslot, clevisBind, killKeyslot, opens, PASSPHRASE } from '../support/luks.ts';
import { startTang } from '../support/tang.ts';
import { ownSwtpm } from '../support/tpm.ts';

// Each step starts several programs, on cores that other tests share.
t.setTimeout(300_000);

const tang = await startTang(t);

t.test('systemd-cryptenroll: a key beside its token, which goes with --replace', async (t) => {
  const tpm = await ownSwtpm(t);
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: tpm.tcti });
  cryptenroll(machine, tpm);
  writeLine(machine, '-', 'luks,tpm2-device=auto,tpm2-pcrs=7,discard');
  const { status, stdout, stderr } = await adopt(machine, BY_STDIN, PASSPHRASE);
  t.equal(status, 0, stderr);
  t.match(stderr, /^note: tpm2 alone protects the disk, not the machine/);
  t.match(
    stdout,
    /token 0 of systemd-cryptenroll opens it still: fetch-luks-key adopt data --replace removes it\n$/,
  );
  lineIs(t, machine, machine.path, 'luks,discard');
  t.equal(machine.state(), 'keyslots 0,1,2 tokens 0,1 enrolled 1 unfinished no');
  t.ok(await machine.opensBySocket());
  const later = await adopt(machine, ['--replace']);
  t.equal(later.status, 0, later.stderr);
  t.equal(later.stdout, 'data: was adopted; removed now: keyslot 1 and its token\n');
  t.equal(machine.state(), 'keyslots 0,2 tokens 1 enrolled 1 unfinished no');
  t.ok(await machine.opensBySocket());
  t.ok(opens(machine.image.path, PASSPHRASE));
  const nothing = await adopt(machine, ['--replace']);
  t.match(nothing, { status: 0, stdout: 'data: nothing is left to adopt: it was enrolled\n' });
});

t.test('clevis before systemd-cryptenroll before a key file: what stays is told', async (t) => {
  const tpm = await ownSwtpm(t);
  const machine = await machineWith(t);
  cryptenroll(machine, tpm);
  const path = withKeyFile(t, machine);
  clevisBind(machine.image, 'tang', { url: tang.url });
  const { status, stderr } = await adopt(machine);
  t.equal(status, 0, stderr);
  const told = `note: token 0 of systemd-cryptenroll opens it too, and stays\nnote: ${path} opens it too, and stays\n`;
  t.equal(stderr, told);
  lineIs(t, machine, machine.path, 'luks,nofail,_netdev');
  t.ok(await machine.opensBySocket());
});

t.test('systemd-cryptenroll: --replace of two tokens at once', async (t) => {
  const tpm = await ownSwtpm(t);
  const machine = await machineWith(t);
  cryptenroll(machine, tpm);
  cryptenroll(machine, tpm, '0+7');
  writeLine(machine, 'none', 'tpm2-device=auto');
  const done = await machine.json('adopt', ['--tang', tang.url, '-y', '--replace', ...BY_STDIN], PASSPHRASE);
  t.match(done, {
    from: 'systemd-tpm2',
    keyslot: 3,
    token: 2,
    replaced: [1, 2],
    done: true,
    'proven-by': 'socket',
  });
  lineIs(t, machine, machine.path, 'luks,_netdev');
  t.equal(machine.state(), 'keyslots 0,3 tokens 2 enrolled 1 unfinished no');
  t.ok(await machine.opensBySocket());
});

t.test('key file: a key beside it, by the part of it that crypttab names', async (t) => {
  const machine = await machineWith(t);
  const path = withKeyFile(t, machine);
  const { status, stdout, stderr } = await adopt(machine, ['--tang', tang.url, '-y']);
  t.equal(status, 0, stderr);
  t.match(stdout, new RegExp(`^adopted data from ${path} in `));
  t.match(stdout, new RegExp(`${path} opens it still: cryptsetup luksRemoveKey takes its key out\\n$`));
  lineIs(t, machine, machine.path, 'luks,nofail,_netdev');
  t.ok(await machine.opensBySocket());
  t.ok(opens(machine.image.path, 'secret of a file'));
  const unenrolled = await machine.command('unenroll', BY_STDIN);
  t.equal(unenrolled.status, 0, unenrolled.stderr);
  lineIs(t, machine, path, 'luks,keyfile-offset=4,keyfile-size=16,nofail');
});

t.test('key file: --replace wipes its keyslot, and leaves the file', async (t) => {
  const machine = await machineWith(t);
  const path = withKeyFile(t, machine);
  const { status, stdout, stderr } = await adopt(machine, ['--tang', tang.url, '-y', '--replace']);
  t.equal(status, 0, stderr);
  t.match(stdout, /\n {2}removed {5}keyslot 1\nproven: /);
  t.match(
    stdout,
    new RegExp(`${path} opens it no more, and is still there: remove it yourself, but to shred`),
  );
  t.equal(machine.state(), 'keyslots 0,2 tokens 0 enrolled 1 unfinished no');
  t.notOk(opens(machine.image.path, 'secret of a file'));
  t.ok(existsSync(path));
  t.ok(await machine.opensBySocket());
  t.ok(opens(machine.image.path, PASSPHRASE));
});

t.test('key file: what does not go', async (t) => {
  const machine = await machineWith(t);
  const { keyFile } = machine.image;
  const before = () => JSON.stringify([machine.state(), readFileSync(machine.crypttab, 'utf8')]);
  const isRefused = async (title: string, args: readonly string[], status: number, line: RegExp) => {
    const was = before();
    const ended = await adopt(machine, ['--tang', tang.url, '-y', ...args]);
    fails(t, title, { ...ended, stderr: ended.stderr.replace(/^note: .*\n/, '') }, status, line);
    t.equal(before(), was, `${title}: all is as it was`);
  };
  writeLine(machine, keyFile, 'luks');
  await isRefused(
    'the last keyslot',
    ['--replace'],
    4,
    /--replace would leave no keyslot that a person can open \(hint: first: fetch-luks-key recovery-key data\)/,
  );
  addKeyslot(machine.image, 'of a random key, as far as one can see');
  await isRefused(
    'none that a person has',
    ['--replace'],
    4,
    /--replace would leave no keyslot that a person/,
  );
  killKeyslot(machine.image, 1);
  const nobody = ['--replace', '--socket', `${machine.etc}/no.sock`];
  await isRefused(
    'no proof',
    nobody,
    4,
    /^--replace: nobody listens at \S+ to prove the new way \(hint: start/,
  );
  writeLine(machine, keyFile, 'luks,keyfile-size=x');
  await isRefused('a size', [], 3, /^keyfile-size=: expected a number of bytes, got "x"/);
  writeLine(machine, keyFile, 'luks,keyfile-size=100');
  await isRefused('too short a file', [], 3, /image\.pass: expected 100 bytes from 0 on/);
  writeLine(machine, keyFile, 'luks,keyfile-offset=1');
  await isRefused('a wrong key', [], 4, /image\.pass: this passphrase opens no keyslot/);
  writeLine(machine, '/no/such.key', 'luks');
  await isRefused('no such file', [], 5, /^\/no\/such\.key: no such file or device/);
  writeLine(machine, keyFile, 'luks,fido2-device=auto');
  await isRefused('another token', [], 3, /option fido2-device=auto does not go with a socket/);
});

t.test('a key file that crypttab need not name', async (t) => {
  const machine = await machineWith(t);
  const folder = t.testdir({ 'cryptsetup-keys.d': { 'data.key': PASSPHRASE } });
  const { status, stdout, stderr } = await adoptWith(machine, '/etc', folder, ['--tang', tang.url, '-y']);
  t.equal(status, 0, stderr);
  t.match(stdout, /^adopted data from \/etc\/cryptsetup-keys\.d\/data\.key in /);
  t.ok(await machine.opensBySocket());
});
