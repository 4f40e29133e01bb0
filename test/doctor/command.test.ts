import { readdirSync } from 'node:fs';
import t, { type Test } from 'tap';
import { DEFAULT_PROGRAM } from '../support/activation.ts';
import type { Patient } from '../support/patient.ts';
import { run } from '../support/run.ts';
import { openWard, rightPatient } from './set-up.ts';

const ward = await openWard();

/** The program itself, where systemd's folder of units is the patient's. */
async function doctor(patient: Patient, ...args: string[]) {
  const inPrivate = 'mount --bind "$1" /etc/systemd/system && shift && exec "$@"';
  const places = ['--etc', patient.etc, '--crypttab', `${patient.folder}/crypttab`];
  const program = [...DEFAULT_PROGRAM, 'doctor', ...places, ...args];
  const wrapper = ['/usr/bin/unshare', '--mount', '/bin/sh', '-c', inPrivate, 'sh', patient.units];
  const environment = { TPM2TOOLS_TCTI: ward.tpm.tcti };
  const { stdout, ...rest } = await run([...wrapper, ...program], Buffer.alloc(0), environment);
  return { ...rest, stdout: stdout.toString() };
}

const scratch = () => readdirSync('/run').filter((name) => name.startsWith('fetch-luks-key-'));

async function json(t: Test, patient: Patient) {
  const { status, stdout, stderr } = await doctor(patient, '--json');
  t.equal(stderr, '');
  return { status, codes: JSON.parse(stdout).findings.map(({ code }: { code: string }) => code) };
}

t.test('a right machine: status 0', async (t) => {
  const before = scratch();
  const patient = rightPatient(t, ward);
  const { status, stdout, stderr } = await doctor(patient);
  t.equal(status, 0, stdout + stderr);
  t.equal(stderr, 'nothing here breaks the next boot\n');
  t.match(stdout, /^note: data: the boot waits for it, .* \[holds-up-boot\]\n {2}fix: .*nofail/m);
  t.notMatch(stdout, /^(?:breaks-boot|weakens):/m);
  t.strictSame(scratch(), before, 'nothing is left behind');
});

t.test('what breaks the boot comes first: status 1', async (t) => {
  const patient = rightPatient(t, ward);
  patient.changed('fetch-luks-key@.service', (text) => text.replace('DefaultDependencies=no\n', ''));
  patient.remove('etc/commitments/data');
  const { status, stdout, stderr } = await doctor(patient);
  t.equal(status, 1);
  t.match(stderr, /^1 of \d+ break the next boot\n$/);
  const severities = [...stdout.matchAll(/^([a-z-]+): /gm)].map((match) => match[1]);
  t.equal(severities[0], 'breaks-boot');
  t.equal(severities[1], 'weakens');
  t.match(stdout, /^breaks-boot: data: a deadlock .*sysinit\.target.* \[handler-deadlock\]$/m);
  t.match(await json(t, patient), { status: 1, codes: ['handler-deadlock', 'no-commitment'] });
});

t.test('what only weakens: status 0', async (t) => {
  const patient = rightPatient(t, ward);
  patient.remove('etc/commitments/data');
  const { status, codes } = await json(t, patient);
  t.equal(status, 0);
  t.equal(codes[0], 'no-commitment');
});

t.test('a wrong command line', async (t) => {
  const { status, stderr } = await doctor(rightPatient(t, ward), '--no-such-option');
  t.equal(status, 2);
  t.match(stderr, /^fetch-luks-key: doctor: unknown option/);
});
