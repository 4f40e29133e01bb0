import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import t from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { BY_STDIN, machineWith } from '../support/enrolled.ts';
import { startKeyServer } from '../support/key-server.ts';
import { opens, PASSPHRASE } from '../support/luks.ts';
import { startTang } from '../support/tang.ts';
import { ownSwtpm } from '../support/tpm.ts';

// Each step starts several programs, on cores that other tests share.
t.setTimeout(600_000);

const tang = await startTang(t);

t.test('tpm2: keyslot, token, commitment, crypttab, and the real socket proves it', async (t) => {
  const tpm = await ownSwtpm(t);
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: tpm.tcti });
  const { status, stdout, stderr } = await machine.command('enroll', ['--tpm2', ...BY_STDIN]);
  t.equal(status, 0, stderr);
  t.equal(
    stderr,
    'note: tpm2 alone protects the disk, not the machine: whoever takes the whole machine has a disk that opens by itself\n',
  );
  t.match(
    stdout,
    /^enrolled data in \d+\.\d s\n {2}device {6}\S+, LUKS2 [\w-]{36}\n {2}opened by {3}tpm2\n {2}keyslot {5}1, /,
  );
  t.match(stdout, new RegExp(`\\nproven: opens by ${machine.path}\\nat the next boot data opens by itself;`));
  t.equal(
    readFileSync(machine.crypttab, 'utf8'),
    `# disks\n\ndata ${machine.image.path} ${machine.path} luks # ours\n`,
  );
  t.equal(
    readFileSync(`${machine.crypttab}.before-enroll`, 'utf8'),
    `# disks\n\ndata ${machine.image.path} none luks # ours\n`,
  );
  t.equal(machine.state(), 'keyslots 0,1 tokens 0 enrolled 1 unfinished no');
  t.match(readFileSync(`${machine.etc}/commitments/data`, 'utf8'), /^[\w-]{36} [\w-]{43}\n$/);
  t.equal(statSync(`${machine.etc}/commitments/data`).mode & 0o777, 0o600);
  t.ok(await machine.opensBySocket());
  t.ok(opens(machine.image.path, PASSPHRASE), 'the passphrase opens it as before');
  t.equal((await machine.ask('data')).length, 86, '512 bits as base64url');
});

t.test('tang: clevis lists it and opens it', async (t) => {
  const machine = await machineWith(t);
  const { status, stderr } = await machine.command('enroll', ['--tang', tang.url, '-y', ...BY_STDIN]);
  t.equal(status, 0, stderr);
  t.match(readFileSync(machine.crypttab, 'utf8'), / luks,_netdev # ours$/m);
  t.ok(await machine.opensBySocket());
  const clevis = (...args: string[]) =>
    execFileSync('clevis', ['luks', ...args, '-d', machine.image.path]).toString();
  t.equal(clevis('list'), `1: tang '{"url":"${tang.url}"}'\n`);
  t.ok(opens(machine.image.path, clevis('pass', '-s', '1')), 'clevis luks pass');
});

t.test('2 of {tpm2, tang}, after a dry run that changes nothing', async (t) => {
  const tpm = await ownSwtpm(t);
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: tpm.tcti });
  const before = readFileSync(machine.image.path);
  const dry = await machine.command('enroll', ['--tpm2', '--tang', tang.url, '--dry-run'], '');
  t.equal(dry.status, 0, dry.stderr);
  t.match(dry.stdout, /^would enroll data\n/);
  t.match(dry.stdout, /^ {2}opened by {3}2 of \{tpm2, tang http:/m);
  t.match(dry.stdout, /^-data .* none luks # ours\n\+data .*key\.sock luks,_netdev # ours\n/m);
  t.ok(readFileSync(machine.image.path).equals(before), 'the image is as before');
  t.notOk(existsSync(`${machine.etc}/unfinished`));
  const done = await machine.json('enroll', ['--tpm2', '--tang', tang.url, '-y', ...BY_STDIN]);
  t.match(done, {
    volume: 'data',
    device: machine.image.path,
    policy: `2 of {tpm2, tang ${tang.url}}`,
    keyslot: 1,
    token: 0,
    crypttab: { path: machine.crypttab, changed: true },
    done: true,
    'proven-by': 'socket',
  });
  t.ok(await machine.opensBySocket());
  tpm.extend(7);
  t.notOk(await machine.opensBySocket(), 'another boot state: one of two is not enough');
});

t.test('remote: the alive proof is registered, the next one proves itself by it', async (t) => {
  const server = await startKeyServer(t);
  const machine = await machineWith(t);
  const joined = await fetchLuksKey(
    ['join', '--name', 'home', '--etc', machine.etc],
    await server.invite('nas'),
  );
  t.equal(joined.status, 0, joined.stderr);
  const risky = await machine.command('enroll', ['-y', ...BY_STDIN]);
  fails(
    t,
    'no way back',
    risky,
    4,
    /^enroll: remote home is proposed, and data has no recovery key \(hint: first /,
  );
  t.equal((await machine.command('recovery-key', BY_STDIN)).status, 0);
  const { status, stderr, stdout } = await machine.command('enroll', ['-y', ...BY_STDIN]);
  t.equal(status, 0, stderr);
  t.match(stderr, /^proposed: remote home, which is --remote home\nwithout its server this volume opens by/);
  t.match(stdout, /fetch-luks-key-keepalive\.service/);
  t.ok(await machine.opensBySocket());
  const again = await machine.json('enroll', ['--remote', 'home', '--unlock-key-file', '-']);
  t.match(again, { keyslot: 3, token: 2 }, 'a second key, which the server takes with a proof alone');
  t.match(await server.command('show', 'nas'), { status: 0, stdout: /keys +2/ });
  t.ok(await machine.opensBySocket());
});

t.test('--file, and then without a passphrase, as it opens by itself', async (t) => {
  const machine = await machineWith(t);
  const done = await machine.json('enroll', ['--tang', tang.url, '-y', '--file', ...BY_STDIN]);
  t.equal(done['file'], `${machine.etc}/volumes/data.jwe`);
  t.equal(machine.state(), 'keyslots 0,1 tokens none enrolled 1 unfinished no');
  t.ok(await machine.opensBySocket());
  const { status, stderr } = await machine.command('enroll', ['--tang', tang.url, '-y'], '');
  t.equal(status, 3, stderr);
  t.match(stderr, /looked for elsewhere before its tokens: \S+data\.jwe \(hint: give --file to replace it/);
  const second = await machine.json('enroll', ['--tang', tang.url, '-y', '--file'], '');
  t.match(second, { keyslot: 2, 'proven-by': 'socket' }, 'unlocked by the first');
  t.equal(readFileSync(`${machine.etc}/commitments/data`, 'utf8').split('\n').length, 3);
});

t.test('--device for a volume without a line; --no-crypttab', async (t) => {
  const machine = await machineWith(t);
  const other = ['--tang', tang.url, '-y', '--device', machine.image.path, ...BY_STDIN];
  const args = ['enroll', 'other', '--etc', machine.etc, '--crypttab', machine.crypttab, '--socket'];
  const before = readFileSync(machine.crypttab, 'utf8');
  const shown = await fetchLuksKey([...args, machine.path, '--no-crypttab', ...other], PASSPHRASE);
  t.equal(shown.status, 0, shown.stderr);
  t.equal(readFileSync(machine.crypttab, 'utf8'), before);
  const line = `other ${machine.image.path} ${machine.path} luks,_netdev`;
  t.match(shown.stdout, `\n+${line}\n`);
  t.match(shown.stdout, /proven: opens by its sealed key; nobody/);
  const done = await fetchLuksKey([...args, machine.path, ...other], PASSPHRASE);
  t.equal(done.status, 0, done.stderr);
  t.equal(readFileSync(machine.crypttab, 'utf8'), `${before}${line}\n`);
  t.ok(opens(machine.image.path, await machine.ask('other')));
});

t.test('nothing to propose', async (t) => {
  const machine = await machineWith(t);
  const { status, stderr } = await machine.command('enroll', BY_STDIN);
  t.equal(status, 2);
  t.match(stderr, /nothing to propose: there is no TPM, and no key server was joined \(hint: name a Tang/);
  t.match((await machine.command('enroll', ['--require', '2'])).stderr, /--require: of nothing/);
});
