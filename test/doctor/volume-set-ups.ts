import { execFileSync } from 'node:child_process';
import { chmodSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { addKeyslot, addToken, clevisToken, forge, killKeyslot, overwrite } from '../support/luks.ts';
import type { Patient } from '../support/patient.ts';
import { vector } from '../support/sealing.ts';
import type { SetUp } from './set-up.ts';

const SOCKET = '/run/fetch-luks-key/default.sock';
const imageOf = (patient: Patient) => `${patient.folder}/data.img`;

/** crypttab, fstab, config.yaml, sealed keys. */
export const lineSetUps: readonly SetUp[] = [
  {
    title: 'a key in config.yaml that there is not',
    finds: 'configuration-wrong',
    says: /config\.yaml:1: volumes\.data\.giveup/,
    breaks: (patient) => patient.config('volumes: { data: { giveup: 5m } }'),
  },
  {
    title: 'a line of crypttab with a name alone',
    finds: 'configuration-wrong',
    says: /crypttab:2: /,
    breaks: (patient) => patient.line('alone'),
  },
  {
    title: 'a name of 79 bytes',
    finds: 'name-too-long',
    breaks: (patient) => patient.line(`${'n'.repeat(79)} @FOLDER/data.img ${SOCKET} luks`),
  },
  {
    title: 'a name with a slash',
    finds: 'configuration-wrong',
    says: /volume name "a\/b"/,
    breaks: (patient) => patient.line(`a/b @FOLDER/data.img ${SOCKET} luks`),
  },
  ...[
    'keyfile-offset=4',
    'keyfile-size=32',
    'tpm2-device=auto',
    'keyscript=/lib/cryptsetup/scripts/passdev',
  ].map(
    (option): SetUp => ({
      title: `${option.split('=')[0]}= beside a socket`,
      finds: 'option-conflict',
      breaks: (patient) => patient.options('data', `luks,${option}`),
    }),
  ),
  {
    title: 'a plain volume, which any answer maps',
    finds: 'plain-volume',
    breaks: (patient) => patient.options('data', 'plain,cipher=aes-xts-plain64,size=256'),
  },
  {
    title: 'no sealed key, no url, no token',
    finds: 'no-sealed-key',
    breaks: (patient) =>
      void execFileSync('cryptsetup', ['token', 'remove', '--token-id=0', imageOf(patient)]),
  },
  {
    title: 'a sealed key in a file that is cut',
    finds: 'sealed-key-damaged',
    breaks: (patient, { byTpm }) => patient.write('etc/volumes/data.jwe', byTpm.slice(0, -9)),
  },
  {
    title: 'a token that holds no sealed key, and no other',
    finds: 'sealed-key-damaged',
    breaks(patient) {
      execFileSync('cryptsetup', ['token', 'remove', '--token-id=0', imageOf(patient)]);
      addToken({ path: imageOf(patient), keyFile: '' }, clevisToken(['1'], 'a.b.c.d.e'));
    },
  },
  {
    title: 'a pin that config.yaml does not allow',
    finds: 'pin-not-allowed',
    breaks: (patient) => patient.config('volumes: { data: { allow: [remote] } }'),
  },
  {
    title: 'config.yaml that everybody may write',
    finds: 'file-mode',
    breaks(patient) {
      patient.config('volumes: {}');
      chmodSync(`${patient.etc}/config.yaml`, 0o666);
    },
  },
  {
    title: 'nofail in crypttab and not in fstab',
    finds: 'nofail-mismatch',
    breaks(patient) {
      patient.options('data', 'luks,nofail');
      patient.write('fstab', '/dev/mapper/data /srv ext4 defaults 0 2\n');
    },
  },
  { title: 'no nofail', finds: 'holds-up-boot', breaks() {} },
  { title: 'no headless', finds: 'may-prompt', breaks() {} },
];

/** What a LUKS header says, and whose it is. */
export const headerSetUps: readonly SetUp[] = [
  {
    title: 'the device is not there',
    finds: 'device-missing',
    breaks: (patient) => rmSync(imageOf(patient)),
  },
  {
    title: 'the device holds no LUKS header',
    finds: 'header-unusable',
    breaks(patient) {
      writeFileSync(imageOf(patient), '');
      truncateSync(imageOf(patient), 20 * 1024 * 1024);
    },
  },
  {
    title: 'both copies of the header are damaged',
    finds: 'header-unusable',
    breaks: (patient) => overwrite(imageOf(patient), 4096, Buffer.alloc(20_000)),
  },
  {
    title: 'the header says that the data is not encrypted',
    finds: 'not-encrypted',
    breaks: (patient) =>
      forge(imageOf(patient), [0, 1], (json) => json.replaceAll('aes-xts-plain64', 'cipher_null-ecb')),
  },
  {
    title: 'another disk in place of the one that was enrolled',
    finds: 'other-disk',
    breaks(patient) {
      const other = '3b0f4d9e-6d7c-4f0e-9d9a-2f6f4e8f1c11';
      execFileSync('cryptsetup', ['luksUUID', '-q', '--uuid', other, imageOf(patient)]);
    },
  },
  {
    title: 'a disk of which nobody has noted which one it is',
    finds: 'no-commitment',
    breaks: (patient) => patient.remove('etc/commitments/data'),
  },
  {
    title: 'a keyslot that the empty passphrase opens',
    finds: 'empty-passphrase',
    breaks: (patient, { image }) => addKeyslot({ path: imageOf(patient), keyFile: image.keyFile }, ''),
  },
  {
    title: 'a token whose keyslot is gone',
    finds: 'token-dead',
    says: /token 1 /,
    breaks(patient, { image, byTpm }) {
      const own = { path: imageOf(patient), keyFile: image.keyFile };
      addKeyslot(own, 'another', ['--key-slot', '2']);
      addToken(own, clevisToken(['2'], byTpm));
      killKeyslot(own, 2);
    },
  },
  {
    title: 'a token that holds no sealed key, beside one that does',
    finds: 'token-dead',
    breaks: (patient) => addToken({ path: imageOf(patient), keyFile: '' }, clevisToken(['1'], 'a.b.c.d.e')),
  },
  {
    title: 'a keyslot for a random key that no token names',
    finds: 'keyslot-leftover',
    says: /keyslot 2 /,
    breaks: (patient, { image }) =>
      addKeyslot({ path: imageOf(patient), keyFile: image.keyFile }, 'left over'),
  },
  {
    title: 'an enroll that was killed',
    finds: 'enrolment-unfinished',
    breaks: (patient) => patient.write('etc/unfinished/data.json', '{}'),
  },
  {
    title: 'no way in for people',
    finds: 'no-recovery',
    breaks: (patient, { image }) =>
      killKeyslot({ path: imageOf(patient), keyFile: `${image.path.replace(/img$/, 'key')}` }, 0),
  },
  {
    title: 'a sealed key of a pin that is not known here',
    finds: 'sealed-key-damaged',
    breaks: (patient) => patient.write('etc/volumes/data.jwe', vector('broken-unknown-pin')),
  },
];
