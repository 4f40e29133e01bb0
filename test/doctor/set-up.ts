import t, { type Test } from 'tap';
import type { FindingCode } from '../../src/doctor/finding.ts';
import type { Image } from '../support/luks.ts';
import { enrolledImage, KEY, Patient } from '../support/patient.ts';
import { sealerWith } from '../support/sealing.ts';
import { type Swtpm, startSwtpm } from '../support/swtpm.ts';

/** What there is for set-ups to be made of. */
export interface Ward {
  readonly tpm: Swtpm;
  /** Passphrase in keyslot 0, `KEY` in keyslot 1, no token. */
  readonly image: Image;
  /** For files, and for locks. */
  readonly folder: string;
  /** `KEY`, sealed to PCR 7 of this TPM. */
  readonly byTpm: string;
  seal: ReturnType<typeof sealerWith>;
}

/** A machine that something is wrong with, and what the doctor has to say. */
export interface SetUp {
  readonly title: string;
  readonly finds: FindingCode;
  /** Matches what it says; for the cases that differ in nothing else. */
  readonly says?: RegExp;
  /** @param patient with the volume `data`, sealed by the TPM, until it is broken */
  breaks(patient: Patient, ward: Ward, t: Test): Promise<void> | void;
}

// Each set-up starts a dozen programs, on cores that other tests share.
t.setTimeout(600_000);

export async function openWard(): Promise<Ward> {
  const tpm = await startSwtpm();
  t.teardown(() => tpm.remove());
  // As firmware leaves it.
  tpm.extend(7);
  const folder = t.testdir();
  const seal = sealerWith(tpm.tcti, folder);
  return {
    tpm,
    folder,
    image: enrolledImage(folder),
    seal,
    byTpm: await seal('tpm2', { pcr_ids: '7' }, KEY),
  };
}

export function rightPatient(t: Test, ward: Ward): Patient {
  const patient = new Patient(t, ward.tpm.tcti);
  patient.volume('data', ward.image, ward.byTpm);
  return patient;
}

/** Each broken machine by itself: it is found, and named as it should be. */
export function runSetUps(ward: Ward, setUps: readonly SetUp[]): void {
  for (const { title, finds, says, breaks } of setUps) {
    void t.test(`${finds}: ${title}`, async (t) => {
      const patient = rightPatient(t, ward);
      await breaks(patient, ward, t);
      const findings = await patient.findings();
      const found = findings.filter(({ code }) => code === finds);
      t.ok(found.length > 0, 'it is found', { findings });
      if (says !== undefined) t.match(found.map(({ what, about }) => `${about}: ${what}`).join('\n'), says);
      for (const { fix, what } of findings) t.ok(fix !== '' && !/[.\n]$|undefined/.test(what), what);
    });
  }
}
