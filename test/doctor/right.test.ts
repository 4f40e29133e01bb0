import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readdirSync, renameSync } from 'node:fs';
import t, { type Test } from 'tap';
import { fetchLuksKey } from '../support/command-line.ts';
import { startKeyServer } from '../support/key-server.ts';
import { KEY, Patient } from '../support/patient.ts';
import { sealerWith } from '../support/sealing.ts';
import { startTang } from '../support/tang.ts';
import { secretOf } from '../support/tpm.ts';
import { enrolls } from './enrolled-set-ups.ts';
import { joins } from './server-set-ups.ts';
import { openWard, rightPatient } from './set-up.ts';

const ward = await openWard();

/** The codes of what is found, and never one that would break the boot. */
async function codes(t: Test, patient: Patient): Promise<string[]> {
  const findings = await patient.findings();
  t.strictSame(
    findings.filter(({ severity }) => severity === 'breaks-boot'),
    [],
  );
  // Where the tests run.
  return findings.map(({ code }) => code).filter((code) => code !== 'other-init');
}

t.test('one volume, sealed by the TPM', async (t) => {
  t.strictSame(await codes(t, rightPatient(t, ward)), ['holds-up-boot', 'may-prompt']);
});

t.test('nothing to remark on at all', async (t) => {
  const patient = rightPatient(t, ward);
  patient.options('data', 'luks,nofail,headless=1');
  patient.write('fstab', '/dev/mapper/data /srv ext4 nofail 0 2\n');
  t.strictSame(await codes(t, patient), []);
});

t.test('sealed as Clevis does', async (t) => {
  const patient = new Patient(t, ward.tpm.tcti);
  const jwe = await ward.seal('tpm2', { clevis: true, pcr_ids: '7' }, KEY);
  patient.volume('data', ward.image, jwe, 'luks,headless=1,nofail');
  t.strictSame(await codes(t, patient), []);
});

t.test('tang, _netdev, a late network', async (t) => {
  const tang = await startTang(t);
  const patient = new Patient(t, 'device:/dev/no-such-tpm');
  const jwe = await ward.seal('tang', { url: tang.url, thp: tang.thp }, KEY);
  patient.volume('data', ward.image, jwe, 'luks,_netdev,headless');
  patient.unit(
    'late-network.service',
    '[Unit]\nBefore=network-online.target\n[Service]\nExecStart=/bin/true\n',
  );
  patient.enable('late-network.service', 'network-online.target');
  t.strictSame(await codes(t, patient), []);
});

t.test('_netdev, remote-cryptsetup.target off, and fstab mounts it', async (t) => {
  const patient = rightPatient(t, ward);
  patient.options('data', 'luks,_netdev,headless');
  patient.disable('remote-cryptsetup.target', 'multi-user.target');
  patient.write('fstab', '/dev/mapper/data /srv ext4 _netdev 0 2\n');
  t.strictSame(await codes(t, patient), []);
});

t.test('two of TPM and key server', async (t) => {
  const server = await startKeyServer(t);
  const patient = rightPatient(t, ward);
  await joins(patient, server, 'nas');
  t.strictSame(await codes(t, patient), ['identity-unprotected', 'may-prompt']);
});

t.test('a Tang server that has rotated its keys, and keeps the old ones', async (t) => {
  const tang = await startTang(t);
  const patient = rightPatient(t, ward);
  patient.write('etc/volumes/data.jwe', await ward.seal('tang', { url: tang.url, thp: tang.thp }, KEY));
  patient.options('data', '_netdev,headless');
  for (const name of readdirSync(tang.database)) {
    renameSync(`${tang.database}/${name}`, `${tang.database}/.${name}`);
  }
  execFileSync('/usr/libexec/tangd-keygen', [tang.database], { stdio: 'ignore' });
  t.strictSame(await codes(t, patient), []);
});

t.test('a PIN, and PCRs that are signed', async (t) => {
  const pin = sealerWith(ward.tpm.tcti, ward.folder, { newPin: async () => secretOf('1234') });
  const withPin = { t: 2, pins: { tpm2: [{ pcr_ids: '7' }, { with_pin: true }] } };
  const patient = rightPatient(t, ward);
  patient.options('data', 'luks,headless,nofail');
  patient.write('etc/volumes/data.jwe', await pin('sss', withPin, KEY));
  t.strictSame(await codes(t, patient), []);
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  patient.write('policy.pem', publicKey.export({ type: 'spki', format: 'pem' }).toString());
  // Signed for the phase in which the volume is opened, and so for no later one.
  const signed = { pcr_ids: '', public_key: `${patient.folder}/policy.pem` };
  patient.write('etc/volumes/data.jwe', await ward.seal('tpm2', signed, KEY));
  t.strictSame(await codes(t, patient), []);
});

t.test('a credential of systemd’s needs no network', async (t) => {
  const patient = new Patient(t, ward.tpm.tcti);
  const sealed = await fetchLuksKey(['seal', 'systemd-creds', '{"with-key":"host"}'], KEY);
  patient.volume('data', ward.image, sealed.stdout, 'luks,headless,nofail');
  patient.unit(
    'late-network.service',
    '[Unit]\nBefore=network-online.target\n[Service]\nExecStart=/bin/true\n',
  );
  patient.enable('late-network.service', 'network-online.target');
  t.strictSame(await codes(t, patient), []);
});

t.test('what enroll has made', async (t) => {
  const patient = new Patient(t, ward.tpm.tcti);
  await enrolls(patient, ward);
  patient.options('data', 'luks,headless,nofail');
  t.strictSame(await codes(t, patient), []);
});

t.test('a service that credential install has told to ask for its secret', async (t) => {
  const patient = new Patient(t, ward.tpm.tcti);
  patient.service('shop.service', 'token', ward.byTpm);
  // An instance is asked for by its own name, and a template not at all.
  patient.service('shop@.service', 'token', ward.byTpm);
  t.strictSame(await codes(t, patient), []);
});

t.test('drop-ins that change no order', async (t) => {
  const patient = rightPatient(t, ward);
  patient.dropIn(
    'fetch-luks-key@.service',
    '[Service]\nTimeoutStopSec=5s\nPrivateTmp=yes\nUser=root\nDynamicUser=no\n',
  );
  t.strictSame(await codes(t, patient), ['holds-up-boot', 'may-prompt']);
});

t.test('volumes that are not ours alone, whatever they say', async (t) => {
  const patient = new Patient(t, 'device:/dev/no-such-tpm');
  patient.line('swap /dev/absent /dev/urandom swap,plain,cipher=aes-xts-plain64,size=256');
  patient.line('backup UUID=00000000-0000-0000-0000-000000000000 none luks,keyfile-offset=4');
  patient.remove('units/fetch-luks-key@.socket');
  t.strictSame(await codes(t, patient), []);
});

t.test('nothing at all', async (t) => {
  t.strictSame(await codes(t, new Patient(t, 'device:/dev/no-such-tpm')), []);
});
