import t from 'tap';
import { fails } from '../support/command-line.ts';
import { BY_STDIN, machineWith } from '../support/enrolled.ts';
import { fillCounters, fillHandles } from '../support/full-tpm.ts';
import { ownFolder, ownSwtpm } from '../support/tpm.ts';

// To fill a TPM takes hundreds of programs, on cores that other tests share.
t.setTimeout(900_000);

t.test('a TPM without a free persistent handle, or without room for a counter', async (t) => {
  const tpm = await ownSwtpm(t);
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: tpm.tcti });
  const folder = ownFolder(t);
  fillHandles(tpm, folder);
  const isRefused = async (args: readonly string[], tool: string) => {
    const ended = await machine.command('enroll', ['--tpm2', ...args, ...BY_STDIN]);
    const stderr = ended.stderr.replace(/^note: .*\n/, '');
    fails(
      t,
      tool,
      { ...ended, stderr },
      4,
      new RegExp(`no room in the TPM for what is to stay in it \\(${tool}: .*\\(hint: tpm2_getcap`),
    );
    t.equal(machine.state(), 'keyslots 0 tokens none enrolled 0 unfinished no');
    t.equal(tpm.leftovers(), '');
  };
  await isRefused([], 'tpm2_evictcontrol');
  tpm.run('tpm2_evictcontrol', ['-Q', '-C', 'o', '-c', '0x81010000']);
  const done = await machine.command('enroll', ['--tpm2', ...BY_STDIN]);
  t.equal(done.status, 0, done.stderr);
  t.ok(await machine.opensBySocket(), 'with one that is free it goes');
  const unenrolled = await machine.command('unenroll', BY_STDIN);
  t.equal(unenrolled.status, 0, unenrolled.stderr);
  fillCounters(tpm);
  await isRefused(['--tpm2-rollback-counter', '0x018001ff'], 'tpm2_nvdefine');
});
