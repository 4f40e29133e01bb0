import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fetchLuksKey } from '../support/command-line.ts';
import { addKeyslot, addToken, clevisToken } from '../support/luks.ts';
import { KEY, type Patient } from '../support/patient.ts';
import type { SetUp, Ward } from './set-up.ts';

const imageOf = (patient: Patient) => `${patient.folder}/data.img`;

async function command(patient: Patient, name: string, ...args: string[]): Promise<void> {
  const places = ['--etc', patient.etc, '--crypttab', `${patient.folder}/crypttab`];
  const environment = { TPM2TOOLS_TCTI: patient.tcti };
  const { status, stderr } = await fetchLuksKey([name, 'data', ...places, ...args], '', environment);
  if (status !== 0) throw new Error(stderr);
}

/** The volume `data` as `enroll` itself makes it. */
export async function enrolls(patient: Patient, { image }: Ward, ...args: string[]): Promise<void> {
  patient.write('crypttab', '');
  patient.volume('data', image, null);
  patient.remove('etc/commitments/data');
  execFileSync('cryptsetup', ['luksKillSlot', '-q', '--key-file', image.keyFile, imageOf(patient), '1']);
  await command(patient, 'enroll', '--tpm2', '--unlock-key-file', image.keyFile, ...args);
}

const backupOf = (patient: Patient) => `${patient.folder}/header`;

function header(patient: Patient, verb: 'luksHeaderBackup' | 'luksHeaderRestore'): void {
  execFileSync('cryptsetup', [verb, '-q', imageOf(patient), '--header-backup-file', backupOf(patient)]);
}

/** Headers that are not as they were enrolled. */
export const enrolledSetUps: readonly SetUp[] = [
  {
    title: 'a header from before rotate was restored',
    finds: 'other-keys',
    async breaks(patient, ward) {
      await enrolls(patient, ward);
      header(patient, 'luksHeaderBackup');
      await command(patient, 'rotate');
      header(patient, 'luksHeaderRestore');
    },
  },
  {
    title: 'the same where the sealed key is in a file',
    finds: 'other-keys',
    async breaks(patient, ward) {
      await enrolls(patient, ward, '--file');
      header(patient, 'luksHeaderBackup');
      await command(patient, 'rotate');
      header(patient, 'luksHeaderRestore');
    },
  },
  {
    title: 'a token was made anew by somebody else, as clevis luks regen does',
    finds: 'other-keys',
    async breaks(patient, ward) {
      await enrolls(patient, ward);
      const image = { path: imageOf(patient), keyFile: ward.image.keyFile };
      execFileSync('cryptsetup', ['token', 'remove', '--token-id', '0', image.path]);
      execFileSync('cryptsetup', ['luksKillSlot', '-q', '--key-file', image.keyFile, image.path, '1']);
      addKeyslot(image, KEY, ['--key-slot', '1']);
      addToken(image, clevisToken(['1'], ward.byTpm));
    },
  },
  {
    title: 'a second token, which enroll has not made',
    finds: 'token-not-enrolled',
    says: /token 1 was not enrolled/,
    async breaks(patient, ward) {
      await enrolls(patient, ward);
      const image = { path: imageOf(patient), keyFile: ward.image.keyFile };
      addKeyslot(image, KEY, ['--key-slot', '2']);
      addToken(image, clevisToken(['2'], ward.byTpm));
    },
  },
  {
    title: 'one of two enrolled keyslots was made anew',
    finds: 'token-dead',
    says: /token 0: the keyslot that its key was enrolled in is gone/,
    async breaks(patient, ward) {
      await enrolls(patient, ward);
      await command(patient, 'enroll', '--tpm2', '--unlock-key-file', ward.image.keyFile);
      const image = { path: imageOf(patient), keyFile: ward.image.keyFile };
      execFileSync('cryptsetup', ['luksKillSlot', '-q', '--key-file', image.keyFile, image.path, '1']);
      addKeyslot(image, 'another', ['--key-slot', '1']);
      const [first] = JSON.parse(readFileSync(`${patient.etc}/enrolled/data.json`, 'utf8'));
      execFileSync('cryptsetup', ['token', 'remove', '--token-id', '0', image.path]);
      addToken(image, clevisToken(['1'], first.sealedKey));
    },
  },
  {
    title: 'a commitment that is cut',
    finds: 'commitment-damaged',
    says: /commitments\/data:1: expected a UUID.*so every key is refused$/,
    breaks: (patient) => patient.write('etc/commitments/data', 'x\n'),
  },
];
