import t from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { BY_STDIN, machineWith } from '../support/enrolled.ts';
import { PASSPHRASE } from '../support/luks.ts';
import type { Swtpm } from '../support/swtpm.ts';
import { ownSwtpm } from '../support/tpm.ts';

t.setTimeout(300_000);

const INDEX = '0x01800222';
const WITH_COUNTER = ['--tpm2', '--tpm2-rollback-counter', INDEX, ...BY_STDIN];
const taken = (tpm: Swtpm) => tpm.run('tpm2_getcap', ['handles-nv-index']).toString().trim();
const withoutNotes = <T extends { stderr: string }>(ended: T): T => ({
  ...ended,
  stderr: ended.stderr.replaceAll(/^note: .*\n/gm, ''),
});

t.test('a counter goes with what it was made for', async (t) => {
  const tpm = await ownSwtpm(t);
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: tpm.tcti });
  const another = await machineWith(t);
  const failed = await machine.command('enroll', [...WITH_COUNTER, '--socket', another.path]);
  fails(t, 'not proven', withoutNotes(failed), 4, /what it answers does not open/);
  t.equal(taken(tpm), '', 'undone');
  t.equal((await machine.command('enroll', WITH_COUNTER)).status, 0);
  t.equal(taken(tpm), '- 0x1800222');
  const resealed = await machine.command('reseal', [], '');
  t.equal(resealed.status, 0, resealed.stderr);
  t.match(
    resealed.stderr,
    /^next: fetch-luks-key request data && fetch-luks-key retire data; until then the TPM/,
  );
  t.equal(taken(tpm), '- 0x1800222');
  t.equal((await machine.command('retire')).status, 0);
  t.ok(await machine.opensBySocket());
  const unenrolled = await machine.command('unenroll', BY_STDIN);
  t.equal(unenrolled.status, 0, unenrolled.stderr);
  t.equal(taken(tpm), '');
});

t.test('a TPM that is away keeps nothing enrolled', async (t) => {
  const tpm = await ownSwtpm(t);
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: tpm.tcti });
  t.equal((await machine.command('enroll', WITH_COUNTER)).status, 0);
  await tpm.stop();
  const { status, stderr } = await machine.command('unenroll', BY_STDIN);
  t.equal(status, 0, stderr);
  t.match(stderr, /^note: counter 0x01800222 stays in the TPM: no TPM at /m);
  t.equal(machine.state(), 'keyslots 0 tokens none enrolled 0 unfinished no');
});

t.test('one counter is one volume’s', async (t) => {
  const tpm = await ownSwtpm(t);
  const environment = { TPM2TOOLS_TCTI: tpm.tcti };
  const machine = await machineWith(t, environment);
  const other = await machineWith(t);
  t.equal((await machine.command('enroll', WITH_COUNTER)).status, 0);
  const places = ['--etc', machine.etc, '--crypttab', machine.crypttab, '--device', other.image.path];
  const second = await fetchLuksKey(
    ['enroll', 'second', ...places, ...WITH_COUNTER],
    PASSPHRASE,
    environment,
  );
  fails(
    t,
    'shared',
    second,
    4,
    /^rollback counter 0x01800222 is data's: to retire keys of one would retire the other's \(hint: name another/,
  );
  t.equal((await machine.command('enroll', WITH_COUNTER)).status, 0, 'its own second key may');
});
