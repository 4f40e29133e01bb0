import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { fetchLuksKey } from '../support/command-line.ts';
import { BY_STDIN, type Machine, machineWith } from '../support/enrolled.ts';
import { startKeyServer } from '../support/key-server.ts';
import { opens } from '../support/luks.ts';
import { ownSwtpm } from '../support/tpm.ts';

// What docs/RECOVERY.md says, as it says it.
t.setTimeout(300_000);

async function wellDone(t: Test, ended: Promise<{ status: number | null; stderr: string; stdout: string }>) {
  const { status, stderr, stdout } = await ended;
  t.equal(status, 0, stderr);
  return stdout;
}

async function withRecoveryKey(t: Test, machine: Machine): Promise<string> {
  return (await wellDone(t, machine.command('recovery-key', BY_STDIN))).trim();
}

t.test('the TPM is lost: by recovery key, to the one that is there now', async (t) => {
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: (await ownSwtpm(t)).tcti });
  const recoveryKey = await withRecoveryKey(t, machine);
  await wellDone(t, machine.command('enroll', ['--tpm2', '--yes', ...BY_STDIN]));
  t.ok(await machine.opensBySocket());

  const moved = await machineWith(t, { TPM2TOOLS_TCTI: (await ownSwtpm(t)).tcti });
  execFileSync('cp', [machine.image.path, moved.image.path]);
  execFileSync('cp', ['-a', `${machine.etc}/.`, moved.etc]);
  execFileSync('cp', [machine.crypttab, moved.crypttab]);
  execFileSync('sed', [
    '-i',
    `s|${machine.image.path}|${moved.image.path}|; s|${machine.path}|${moved.path}|`,
    moved.crypttab,
  ]);
  t.notOk(await moved.opensBySocket(), 'another TPM');
  await wellDone(t, moved.command('reseal', BY_STDIN, recoveryKey));
  t.ok(await moved.opensBySocket());
  t.ok(opens(moved.image.path, recoveryKey), 'the recovery key stays');
});

t.test('the key server is lost: to what is left', async (t) => {
  const server = await startKeyServer(t);
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: (await ownSwtpm(t)).tcti });
  const recoveryKey = await withRecoveryKey(t, machine);
  const line = await server.invite('nas');
  await wellDone(t, fetchLuksKey(['join', '--name', 'home', '--etc', machine.etc], line));
  await wellDone(t, machine.command('enroll', ['--tpm2', '--remote', 'home', '--yes', ...BY_STDIN]));
  t.ok(await machine.opensBySocket());

  await server.stop();
  await wellDone(t, machine.command('reseal', ['--tpm2', ...BY_STDIN], recoveryKey));
  t.ok(await machine.opensBySocket());
});

t.test('locked by mistake: a handler that waits goes on by itself', async (t) => {
  const server = await startKeyServer(t);
  const machine = await machineWith(t);
  const line = await server.invite('nas');
  await wellDone(t, fetchLuksKey(['join', '--name', 'home', '--etc', machine.etc], line));
  await wellDone(t, machine.command('enroll', ['--remote', 'home', '--yes', ...BY_STDIN]));
  await server.command('lock', 'nas');
  const waiting = machine.opensBySocket();
  // It has been refused once when the log says so.
  for (let refused = false; !refused; ) {
    const { stdout } = await server.command('audit', 'show');
    refused = /machine recover nas .*: locked/.test(stdout);
  }
  await server.command('allow', 'nas');
  t.ok(await waiting);
});

t.test('a header from before rotate: refused, until it is sealed anew', async (t) => {
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: (await ownSwtpm(t)).tcti });
  const { path } = machine.image;
  await wellDone(t, machine.command('enroll', ['--tpm2', ...BY_STDIN]));
  const file = ['--header-backup-file', `${path}.header`];
  execFileSync('cryptsetup', ['luksHeaderBackup', path, ...file]);
  const old = await machine.ask('data');
  await wellDone(t, machine.command('rotate', [], ''));
  execFileSync('cryptsetup', ['luksHeaderRestore', '-q', path, ...file]);
  t.notOk(await machine.opensBySocket());
  const { status, stderr } = await machine.command('reseal', BY_STDIN);
  t.equal(status, 0, stderr);
  t.match(stderr, /^note: a new key takes its place, as (keyslot 2 is not|the sealed one does not open)/);
  t.ok(await machine.opensBySocket());
  t.ok(opens(path, old), 'until somebody removes it');
  execFileSync('cryptsetup', ['token', 'remove', '--token-id', '0', path]);
  execFileSync('cryptsetup', ['luksKillSlot', '-q', path, '1']);
  t.notOk(opens(path, old));
  t.ok(await machine.opensBySocket());
});

t.test('the passphrase is forgotten: the key that the socket gives adds another', async (t) => {
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: (await ownSwtpm(t)).tcti });
  await wellDone(t, machine.command('enroll', ['--tpm2', '--yes', ...BY_STDIN]));
  const folder = t.testdir({});
  const key = await wellDone(t, fetchLuksKey(['request', 'data', '--socket', machine.path, '--output', '-']));
  writeFileSync(`${folder}/key`, key);
  writeFileSync(`${folder}/new`, 'remembered');
  const quick = ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'];
  execFileSync('cryptsetup', [
    'luksAddKey',
    '--key-file',
    `${folder}/key`,
    ...quick,
    machine.image.path,
    `${folder}/new`,
  ]);
  t.ok(opens(machine.image.path, 'remembered'));
});
