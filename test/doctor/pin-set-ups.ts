import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import type { Test } from 'tap';
import { fillCounters, fillHandles } from '../support/full-tpm.ts';
import { KEY, type Patient } from '../support/patient.ts';
import { parsecSealedKey } from '../support/sealing.ts';
import { type Swtpm, startSwtpm } from '../support/swtpm.ts';
import { startTang, type TangServer } from '../support/tang.ts';
import type { SetUp, Ward } from './set-up.ts';

/** The volume's sealed key is this one, in a file, which comes before its token. */
async function sealed(patient: Patient, { seal }: Ward, pin: string, config: object): Promise<void> {
  patient.write('etc/volumes/data.jwe', await seal(pin, config, KEY));
}

async function withTang(patient: Patient, ward: Ward, t: Test): Promise<TangServer> {
  const tang = await startTang(t);
  await sealed(patient, ward, 'tang', { url: tang.url, thp: tang.thp });
  return tang;
}

/** A wrong password for a key that is guarded by one. */
function countsOne(tpm: Swtpm, folder: string): void {
  tpm.run('tpm2_createprimary', ['-Q', '-C', 'o', '-p', 'right', '-c', `${folder}/primary`]);
  const wrong = ['-Q', '-C', `${folder}/primary`, '-P', 'wrong', '-u', '/dev/null', '-r', '/dev/null'];
  let isRefused = false;
  try {
    tpm.run('tpm2_create', wrong);
  } catch {
    isRefused = true;
  }
  if (!isRefused) throw new Error('the TPM takes a wrong password');
  tpm.flush();
}

/** TPM and Tang. */
export const pinSetUps: readonly SetUp[] = [
  {
    title: 'a PCR is not what it was at sealing',
    finds: 'will-not-open',
    says: /tpm2: PCR 16 \(bank sha256\) changed since the key was sealed$/m,
    async breaks(patient, ward) {
      await sealed(patient, ward, 'tpm2', { pcr_ids: '7,16' });
      ward.tpm.extend(16);
    },
  },
  {
    title: 'the same for a key that Clevis sealed',
    finds: 'will-not-open',
    says: /tpm2: one or more of PCRs 7, 23|tpm2: .*PCRs? .*23/,
    async breaks(patient, ward) {
      await sealed(patient, ward, 'tpm2', { clevis: true, pcr_ids: '7,23' });
      ward.tpm.extend(23);
    },
  },
  {
    title: 'another TPM than the one that sealed it',
    finds: 'will-not-open',
    says: /another TPM|another storage key|no storage key/,
    async breaks(patient, _ward, t) {
      const other = await startSwtpm();
      t.teardown(() => other.remove());
      patient.tcti = other.tcti;
    },
  },
  {
    title: 'no TPM',
    finds: 'will-not-open',
    says: /no TPM at /,
    breaks(patient) {
      patient.tcti = 'device:/dev/no-such-tpm';
    },
  },
  {
    title: 'the Tang server is down',
    finds: 'will-not-open',
    says: /tang http:\/\/127\.0\.0\.1:\d+\S*: connection refused/,
    async breaks(patient, ward, t) {
      await (await withTang(patient, ward, t)).stop();
    },
  },
  {
    title: 'the same for a service’s secret',
    finds: 'will-not-open',
    says: /^shop\.service: its credential token: needs tang .*connection refused/,
    async breaks(patient, { seal }, t) {
      const { url, thp, stop } = await startTang(t);
      patient.service('shop.service', 'token', await seal('tang', { url, thp }, KEY));
      await stop();
    },
  },
  {
    title: 'the Tang server has lost its keys',
    finds: 'will-not-open',
    says: /answered 404/,
    async breaks(patient, ward, t) {
      const { database } = await withTang(patient, ward, t);
      for (const name of readdirSync(database)) rmSync(`${database}/${name}`);
      execFileSync('/usr/libexec/tangd-keygen', [database], { stdio: 'ignore' });
    },
  },
  {
    title: 'two of three pins, and two are away',
    finds: 'will-not-open',
    says: /needs 2 of \{tpm2, tang /,
    async breaks(patient, ward, t) {
      const tang = await startTang(t);
      const { url, thp } = tang;
      await sealed(patient, ward, 'sss', {
        t: 2,
        pins: {
          tpm2: {},
          tang: [
            { url, thp },
            { url, thp },
          ],
        },
      });
      await tang.stop();
    },
  },
  {
    title: 'one of two pins, and one is away',
    finds: 'pin-does-not-answer',
    says: /^data: tang .*connection refused.*; the other pins are enough$/,
    async breaks(patient, ward, t) {
      const { url, thp, stop } = await startTang(t);
      await sealed(patient, ward, 'sss', { t: 1, pins: { tpm2: {}, tang: { url, thp } } });
      await stop();
    },
  },
  {
    title: 'sealed to no PCR',
    finds: 'no-pcr',
    breaks: (patient, ward) => sealed(patient, ward, 'tpm2', { clevis: true }),
  },
  {
    title: 'sealed to a PCR that nothing was measured into',
    finds: 'pcr-zero',
    says: /PCR 14 /,
    breaks: (patient, ward) => sealed(patient, ward, 'tpm2', { pcr_ids: '7,14' }),
  },
  {
    title: 'sealed to the kernel',
    finds: 'pcr-volatile',
    says: /PCR 4 \(changed by updates of boot loader and kernel\), 9 /,
    breaks: (patient, ward) => sealed(patient, ward, 'tpm2', { pcr_ids: '4,7,9' }),
  },
  {
    title: 'sealed to the Parsec service, which starts after the volume',
    finds: 'parsec-too-late',
    says: /^data: it needs the Parsec service/,
    breaks: (patient) => patient.write('etc/volumes/data.jwe', parsecSealedKey),
  },
  {
    title: 'the TPM has counted wrong passwords',
    finds: 'tpm-lockout',
    async breaks(patient, _ward, t) {
      const tpm = await startSwtpm();
      t.teardown(() => tpm.remove());
      patient.tcti = tpm.tcti;
      countsOne(tpm, patient.folder);
    },
  },
  {
    title: 'the TPM has no room for another persistent key',
    finds: 'tpm-full',
    async breaks(patient, _ward, t) {
      const tpm = await startSwtpm();
      t.teardown(() => tpm.remove());
      patient.tcti = tpm.tcti;
      fillHandles(tpm, patient.folder);
    },
  },
  {
    title: 'the same where no volume needs it now',
    finds: 'tpm-lockout',
    async breaks(patient, _ward, t) {
      const tpm = await startSwtpm();
      t.teardown(() => tpm.remove());
      patient.tcti = tpm.tcti;
      patient.remove('crypttab');
      countsOne(tpm, patient.folder);
    },
  },
  {
    title: 'the TPM has no room for another NV counter',
    finds: 'tpm-full',
    says: /NV counter/,
    async breaks(patient, _ward, t) {
      const tpm = await startSwtpm();
      t.teardown(() => tpm.remove());
      patient.tcti = tpm.tcti;
      fillCounters(tpm);
    },
  },
  {
    title: 'a clock in 2099',
    finds: 'clock-wrong',
    says: /2099-01-01/,
    breaks: (patient) => patient.but({ nowUnixMs: () => Date.UTC(2099, 0, 1) }),
  },
  {
    title: 'a clock that begins again in 1970',
    finds: 'clock-wrong',
    says: /1970-01-01/,
    breaks: (patient) => patient.but({ nowUnixMs: () => 3_600_000 }),
  },
];
