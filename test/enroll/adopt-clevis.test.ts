import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { machineWith } from '../support/enrolled.ts';
import { adopt, adoptWith, commitments, lineIs } from '../support/foreign-keys.ts';
import { addToken, clevisBind, clevisToken, dumpJson } from '../support/luks.ts';
import { startTang } from '../support/tang.ts';
import { ownSwtpm } from '../support/tpm.ts';

// Each step starts several programs, on cores that other tests share.
t.setTimeout(300_000);

const tang = await startTang(t);

t.test('clevis: no keyslot is touched, and the socket takes no keys but these', async (t) => {
  const machine = await machineWith(t);
  clevisBind(machine.image, 'tang', { url: tang.url });
  const before = readFileSync(machine.image.path);
  const { status, stdout, stderr } = await adopt(machine);
  t.equal(status, 0, stderr);
  t.equal(stderr, '');
  t.match(stdout, /^adopted data from Clevis in \d+\.\d s\n/);
  t.match(stdout, /\n {2}keyslot {5}1, as it is\n {2}sealed key {2}token 0, as it is\n/);
  t.match(stdout, new RegExp(`\\n {2}opened by {3}tang ${tang.url}\\n`));
  t.match(
    stdout,
    new RegExp(
      `\\nproven: opens by ${machine.path}\\nat the next boot data opens by the socket; after clevis`,
    ),
  );
  lineIs(t, machine, machine.path, 'luks,_netdev');
  t.ok(readFileSync(machine.image.path).equals(before), 'the image is as before, byte for byte');
  t.equal(commitments(machine), 1);
  t.ok(await machine.opensBySocket());
  t.equal(machine.state(), 'keyslots 0,1 tokens 0 enrolled 1 unfinished no');
  const again = await machine.json('adopt', [], '');
  t.match(again, { from: 'clevis', keyslot: 1, token: 0, done: true, 'proven-by': 'socket' }, 'twice');
  t.equal(commitments(machine), 1);
});

t.test('clevis: two bindings, one of them made anew later', async (t) => {
  const tpm = await ownSwtpm(t);
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: tpm.tcti });
  clevisBind(machine.image, 'tang', { url: tang.url });
  process.env['TPM2TOOLS_TCTI'] = tpm.tcti;
  clevisBind(machine.image, 'tpm2', { pcr_bank: 'sha256', pcr_ids: '7' });
  delete process.env['TPM2TOOLS_TCTI'];
  tpm.flush();
  const dry = await adopt(machine, ['--dry-run']);
  t.equal(dry.status, 0, dry.stderr);
  t.match(dry.stdout, /^would adopt data from Clevis\n(?:.*\n)*would adopt data from Clevis\n/);
  t.equal(commitments(machine), 0, 'a dry run changes nothing');
  const { status, stderr } = await adopt(machine);
  t.equal(status, 0, stderr);
  t.equal(commitments(machine), 2);
  t.equal(machine.state(), 'keyslots 0,1,2 tokens 0,1 enrolled 2 unfinished no');
  await tang.stop();
  t.ok(await machine.opensBySocket(), 'by the TPM');
  tpm.extend(7);
  const silent = await adopt(machine);
  fails(
    t,
    'neither opens',
    { ...silent, stderr: silent.stderr.replaceAll(/^note: .*\n/gm, '') },
    5,
    /token 0: .*refused/,
  );
  await tang.start();
  t.ok(await machine.opensBySocket(), 'by Tang');
  execFileSync('clevis', ['luks', 'unbind', '-f', '-d', machine.image.path, '-s', '1'], { stdio: 'ignore' });
  clevisBind(machine.image, 'tang', { url: tang.url });
  t.notOk(await machine.opensBySocket(), 'another key than the one that was adopted');
  const anew = await adopt(machine);
  t.equal(anew.status, 0, anew.stderr);
  t.match(anew.stderr, /^note: token 1 does not open now: .*PCR 7.*\n$/);
  t.equal(commitments(machine), 2, 'one in place of the other');
  t.ok(await machine.opensBySocket());
});

t.test('clevis: unenroll takes back what adopt did; rotate leaves it to Clevis', async (t) => {
  const machine = await machineWith(t);
  clevisBind(machine.image, 'tang', { url: tang.url });
  const before = readFileSync(machine.crypttab);
  const { status, stderr } = await adopt(machine);
  t.equal(status, 0, stderr);
  for (const command of ['rotate', 'reseal']) {
    fails(
      t,
      command,
      await machine.command(command, [], ''),
      4,
      /^data: its key is Clevis’ own \(hint: clevis luks regen/,
    );
  }
  const places = ['--etc', machine.etc, '--crypttab', machine.crypttab];
  t.match(await fetchLuksKey(['rotate', '--all', ...places]), {
    status: 0,
    stderr: /^note: data: its key is Clevis’ own, and stays: /,
  });
  const undone = await machine.command('unenroll', [], '');
  t.equal(undone.status, 0, undone.stderr);
  t.equal(undone.stdout, 'unenrolled data: what opened it by itself before does so again\n');
  t.ok(readFileSync(machine.crypttab).equals(before));
  t.equal(commitments(machine), 0);
  t.equal(machine.state(), 'keyslots 0,1 tokens 0 enrolled 0 unfinished no');
  t.ok(await machine.opensBySocket(), 'without a commitment every key is taken');
});

t.test('units of Clevis that would open it where the socket refuses are named last', async (t) => {
  const machine = await machineWith(t);
  clevisBind(machine.image, 'tang', { url: tang.url });
  const folder = t.testdir({ 'clevis-luks-askpass.path': '' });
  const { status, stdout, stderr } = await adoptWith(machine, '/usr/lib/systemd/system', folder);
  t.equal(status, 0, stderr);
  t.match(
    stdout,
    /\nat the next boot .*; where the socket refuses, clevis-luks-askpass\.path still opens it: .*\n$/,
  );
});

t.test('nothing that could be adopted', async (t) => {
  const machine = await machineWith(t);
  fails(
    t,
    'no binding',
    await adopt(machine),
    3,
    /image: nothing to adopt: no binding of Clevis, no TPM2 token.*\(hint: fetch-luks-key enroll data\)/,
  );
  const none = JSON.stringify({ clevis: { pin: 'pkcs11' }, alg: 'dir', enc: 'A256GCM' });
  const jwe = `${Buffer.from(none).toString('base64url')}..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA`;
  addToken(machine.image, clevisToken(['0'], jwe));
  fails(
    t,
    'an unknown pin',
    await adopt(machine),
    6,
    /image token 0: sealed key: header field clevis\.pin: expected one of tpm2, .*got "pkcs11"/,
  );
  fails(
    t,
    'pins beside Clevis',
    await adopt(machine, ['--tpm2']),
    2,
    /stays as it is, so it takes no pins and no --replace \(hint: .*enroll data/,
  );
  t.equal(Object.keys(dumpJson(machine.image.path)?.['keyslots'] ?? {}).length, 1);
  writeFileSync(machine.crypttab, '# none\n');
  fails(
    t,
    'no line',
    await adopt(machine),
    2,
    /^adopt: \S+ has no line for data \(hint: write it first, or fetch-luks-key enroll data --device PATH\)/,
  );
  const luks1 = await machineWith(t, {}, ['--type', 'luks1']);
  fails(t, 'LUKS1', await adopt(luks1), 3, /expected LUKS2, got LUKS1/);
});
