import t, { type Test } from 'tap';
import { enrolls } from '../doctor/enrolled-set-ups.ts';
import { joins } from '../doctor/server-set-ups.ts';
import { openWard, rightPatient } from '../doctor/set-up.ts';
import { DEFAULT_PROGRAM } from '../support/activation.ts';
import { fetchLuksKey } from '../support/command-line.ts';
import { startKeyServer } from '../support/key-server.ts';
import { addKeyslot, addToken, clevisToken, uuidOf } from '../support/luks.ts';
import { KEY, type Patient } from '../support/patient.ts';
import { run } from '../support/run.ts';
import { sealerWith } from '../support/sealing.ts';
import { startTang } from '../support/tang.ts';
import { secretOf } from '../support/tpm.ts';

const ward = await openWard();

async function status(patient: Patient, ...args: string[]) {
  const places = ['--etc', patient.etc, '--crypttab', `${patient.folder}/crypttab`];
  const environment = { TPM2TOOLS_TCTI: patient.tcti };
  const { stdout, ...rest } = await run(
    [...DEFAULT_PROGRAM, 'status', ...args, ...places],
    Buffer.alloc(0),
    environment,
  );
  return { ...rest, stdout: stdout.toString() };
}

async function json(t: Test, patient: Patient, ...args: string[]) {
  const { status: code, stdout, stderr } = await status(patient, ...args, '--json');
  t.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

t.test('a volume that the TPM opens cannot be revoked', async (t) => {
  const patient = rightPatient(t, ward);
  const image = `${patient.folder}/data.img`;
  const { volumes, servers } = await json(t, patient);
  t.strictSame(servers, []);
  t.strictSame(volumes, [
    {
      volume: 'data',
      device: image,
      uuid: uuidOf(image),
      effective: 'tpm2 (keyslot 1) or passphrase (keyslot 0)',
      revocable: false,
      because: `tpm2 (${image} token 0) opens it without a key server`,
      ways: [
        { by: 'tpm2', where: `${image} token 0`, keyslots: [1], 'needs-person': false, 'sealed-at': null },
        { by: 'passphrase', where: null, keyslots: [0], 'needs-person': true, 'sealed-at': null },
      ],
      committed: [uuidOf(image)],
      'last-opened': null,
    },
  ]);
});

t.test('the effective policy is all of keyslots and tokens', async (t) => {
  const patient = rightPatient(t, ward);
  const { url, thp } = await startTang(t);
  const own = { path: `${patient.folder}/data.img`, keyFile: ward.image.keyFile };
  addKeyslot(own, 'second', ['--key-slot', '4']);
  addToken(own, clevisToken(['4'], await ward.seal('tang', { url, thp }, 'second')));
  addKeyslot(own, 'third', ['--key-slot', '5']);
  addToken(own, { type: 'systemd-recovery', keyslots: ['5'] });
  addKeyslot(own, 'fourth', ['--key-slot', '6']);
  const { volumes } = await json(t, patient);
  t.equal(
    volumes[0].effective,
    `tpm2 (keyslot 1) or tang ${url} (keyslot 4) or recovery key (keyslot 5) or passphrase (keyslot 0) or random key (keyslot 6)`,
  );
});

t.test('a volume that needs its key server can be revoked, until something else opens it', async (t) => {
  const server = await startKeyServer(t);
  const patient = rightPatient(t, ward);
  await joins(patient, server, 'nas');
  const before = await json(t, patient, 'data');
  t.equal(before.volumes[0].revocable, false);
  t.match(before.volumes[0].because, /^tpm2 \(.* token 0\) opens it without a key server$/);

  const bare = rightPatient(t, ward);
  bare.remove('crypttab');
  bare.volume('data', ward.image, null);
  await joins(bare, server, 'bare');
  const { volumes, servers } = await json(t, bare);
  t.equal(volumes[0].revocable, true);
  t.match(volumes[0].because, /^without home this machine does not open it; passphrase \(keyslot 0\) and /);
  t.match(servers, [{ name: 'home', state: 'armed', 'alive-proof': true, 'identity-protection': 'none' }]);
  const leaseLeft = servers[0]['lease-left-ms'];
  t.ok(leaseLeft > 0 && leaseLeft <= 15 * 60_000, String(leaseLeft));

  const audit = await server.command('audit', 'show');
  t.notMatch(audit.stdout, /recover/, 'nothing was released');

  t.match((await json(t, bare, '--probe')).volumes[0].pins, [
    { pin: 'remote home', answers: true, why: null },
  ]);
  await server.command('lock', 'bare');
  const locked = await json(t, bare, '--probe');
  t.equal(locked.servers[0].state, 'locked');
  t.match(locked.volumes[0].pins, [{ pin: 'remote home', answers: false, why: 'this machine is locked' }]);
  t.notMatch((await server.command('audit', 'show')).stdout, /recover/, 'nothing was asked for');
});

t.test('probing asks each pin, and unseals nothing', async (t) => {
  const patient = rightPatient(t, ward);
  const tang = await startTang(t);
  const { url, thp } = tang;
  const config = { t: 2, pins: { tpm2: { pcr_ids: '7' }, tang: { url, thp } } };
  patient.write('etc/volumes/data.jwe', await ward.seal('sss', config, KEY));
  const mark = ward.tpm.mark();
  const all = await json(t, patient, '--probe');
  t.strictSame(all.volumes[0].pins, [
    { pin: 'tpm2', answers: true, why: null },
    { pin: `tang ${url}`, answers: true, why: null },
  ]);
  // TPM_CC_Unseal (TPM 2.0 Part 2 §6.5.2).
  t.notOk(ward.tpm.traffic(mark).includes(Buffer.from('0000015e', 'hex')), 'no TPM2_Unseal');
  t.equal(ward.tpm.leftovers(), '');
  await tang.stop();
  patient.tcti = 'device:/dev/no-such-tpm';
  const none = await json(t, patient, '--probe');
  t.match(none.volumes[0].pins, [
    { pin: 'tpm2', answers: false, why: /^no TPM at / },
    { pin: `tang ${url}`, answers: false, why: /connection refused/ },
  ]);
});

t.test('what one of systemd’s credentials opens is a way of its own, which nobody revokes', async (t) => {
  const patient = rightPatient(t, ward);
  patient.remove('crypttab');
  const sealed = await fetchLuksKey(['seal', 'systemd-creds', '{"with-key":"host"}'], KEY);
  t.equal(sealed.status, 0, sealed.stderr);
  patient.volume('data', ward.image, sealed.stdout);
  const { volumes } = await json(t, patient, '--probe');
  const by = 'systemd-creds (protected by host key on the same disk)';
  t.equal(volumes[0].effective, `${by} (keyslot 1) or passphrase (keyslot 0)`);
  t.match(
    volumes[0].because,
    /^systemd-creds \(protected by .*\) \(.* token 0\) opens it without a key server$/,
  );
  t.strictSame(volumes[0].pins, [], 'only decrypting would tell');
});

t.test('when enroll has sealed it', async (t) => {
  const patient = rightPatient(t, ward);
  const before = Date.now();
  await enrolls(patient, ward);
  const { volumes } = await json(t, patient);
  const atMs = Date.parse(volumes[0].ways[0]['sealed-at']);
  t.ok(atMs >= before && atMs <= Date.now(), volumes[0].ways[0]['sealed-at']);
  t.match((await status(patient)).stdout, /^ {2}sealed +tpm2: \S+ token 0, sealed 2\d{3}-\S+Z$/m);
});

t.test('a PIN is for a person to type', async (t) => {
  const patient = rightPatient(t, ward);
  patient.remove('crypttab');
  const seal = sealerWith(ward.tpm.tcti, ward.folder, { newPin: async () => secretOf('1234') });
  const pins = { t: 2, pins: { tpm2: [{ pcr_ids: '7' }, { with_pin: true }] } };
  patient.volume('data', ward.image, await seal('sss', pins, KEY));
  const { volumes } = await json(t, patient);
  const by = '2 of {tpm2, tpm2 with a PIN}';
  t.equal(volumes[0].effective, `${by} (keyslot 1) or passphrase (keyslot 0)`);
  t.match(volumes[0].ways, [{ by, 'needs-person': true }, { by: 'passphrase' }]);
  t.equal(volumes[0].because, 'the machine has no way of its own to open it');
});

t.test('a line that can be no volume keeps nothing from being told of the others', async (t) => {
  const patient = rightPatient(t, ward);
  patient.line(`a/b ${patient.folder}/data.img /run/fetch-luks-key/default.sock luks`);
  patient.line(`${'n'.repeat(79)} ${patient.folder}/data.img /run/fetch-luks-key/default.sock luks`);
  const { status: code, stdout, stderr } = await status(patient);
  t.equal(code, 0, stderr);
  t.match(stdout, /^data\n/);
  t.match(stderr, /^note: \S+crypttab:2: "a\/b" can be no volume's name here\nnote: \S+crypttab:3: "n+" can/);
});

t.test('for people', async (t) => {
  const patient = rightPatient(t, ward);
  const { status: code, stdout, stderr } = await status(patient, 'data', '--probe');
  t.equal(code, 0, stderr);
  t.match(
    stdout,
    /^data\n {2}device +\S+data\.img, LUKS2 [0-9a-f-]{36}\n {2}opened by +tpm2 \(keyslot 1\) or /,
  );
  t.match(stdout, /^ {2}revocable +no, because tpm2 /m);
  t.match(stdout, /^ {2}now +tpm2 would answer$/m);
  t.match(await status(patient, 'other'), { status: 3, stderr: /no volume other whose key file/ });
  t.match(await status(patient, 'data', 'more'), {
    status: 2,
    stderr: /expected \[VOLUME\], got 2 arguments/,
  });
});

t.test('a URL is nobody’s to revoke here', async (t) => {
  const patient = rightPatient(t, ward);
  patient.remove('crypttab');
  patient.volume('web', ward.image, null);
  patient.config('volumes: { web: { url: "https://keys.example/k?secret=1" } }');
  const { stdout } = await status(patient, 'web');
  t.match(stdout, /revocable +no, because whoever gets it \(https:\/\/keys\.example\/k\) opens it/);
  t.notMatch(stdout, /secret/);
});
