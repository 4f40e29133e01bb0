import { files } from '../../src/os/files.ts';
import { runner } from '../../src/os/processes.ts';
import { uuidOf } from '../support/luks.ts';
import type { Patient } from '../support/patient.ts';
import type { SetUp } from './set-up.ts';

/** lsinitramfs(8) lists this; null: it is not installed. */
function initramfsHas(patient: Patient, listed: readonly string[] | null): void {
  const isLister = (path: string) => path.startsWith('/usr/bin/lsinit');
  patient.but({
    files: {
      ...files,
      mode: async (path) => (isLister(path) ? (listed === null ? null : 0o755) : await files.mode(path)),
    },
    runner: {
      run: async (tool, ...rest) =>
        isLister(tool)
          ? { status: 0, stdout: Buffer.from(`${listed?.join('\n')}\n`), stderr: '' }
          : await runner.run(tool, ...rest),
    },
  });
}

const isRoot = (patient: Patient) => patient.write('fstab', '/dev/mapper/data / ext4 defaults 0 1\n');

export const WHOLE = [
  'usr/bin/fetch-luks-key',
  'usr/lib/systemd/system/fetch-luks-key@.service',
  'usr/lib/systemd/system/fetch-luks-key@.socket',
  'etc/systemd/system/sysinit.target.wants/fetch-luks-key@default.socket',
  'usr/bin/tpm2_load',
  'usr/bin/tpm2_unseal',
];

/** The kernel says that this is mounted: a logical volume on `data` at `path`. */
function mountsLogicalVolume(patient: Patient, path: string): void {
  const dm = `CRYPT-LUKS2-${uuidOf(`${patient.folder}/data.img`).replaceAll('-', '')}-data`;
  const kernel: Record<string, string> = {
    '/proc/self/mountinfo': `1 0 253:1 / ${path} rw - ext4 /dev/mapper/vg-lv rw\n`,
    '/sys/dev/block/253:1/dm/uuid': 'LVM-xyz',
    '/sys/class/block/dm-0/dev': '253:0\n',
    '/sys/dev/block/253:0/dm/uuid': dm,
  };
  const base = patient.world().files;
  patient.but({
    files: {
      ...base,
      read: async (asked, max) =>
        kernel[asked] === undefined ? await base.read(asked, max) : Buffer.from(kernel[asked]),
      list: async (asked) => (asked === '/sys/dev/block/253:1/slaves' ? ['dm-0'] : await base.list(asked)),
    },
  });
}

/** The root file system is on the volume. */
export const initramfsSetUps: readonly SetUp[] = [
  {
    title: 'the root file system is on the volume, and the initramfs has nothing of ours',
    finds: 'initramfs-incomplete',
    says: /lacks usr\/bin\/fetch-luks-key, /,
    breaks(patient) {
      isRoot(patient);
      initramfsHas(patient, ['usr/bin/sh', 'usr/bin/fetch-luks-key.old']);
    },
  },
  {
    title: 'the root file system is on a logical volume on it, and fstab names a UUID',
    finds: 'initramfs-incomplete',
    breaks(patient) {
      initramfsHas(patient, []);
      mountsLogicalVolume(patient, '/');
    },
  },
  {
    title: 'nothing starts the socket in the initramfs, or opens the TPM’s object',
    finds: 'initramfs-incomplete',
    says: /lacks sysinit\.target\.wants\/fetch-luks-key@default\.socket, usr\/bin\/tpm2_load, usr\/bin\/tpm2_unseal$/,
    breaks(patient) {
      isRoot(patient);
      initramfsHas(patient, WHOLE.slice(0, 3));
    },
  },
  {
    title: 'the sealed key is in a file that the initramfs lacks',
    finds: 'initramfs-incomplete',
    says: /lacks \S+etc\/volumes\/data\.jwe$/,
    breaks(patient, { byTpm }) {
      isRoot(patient);
      patient.write('etc/volumes/data.jwe', byTpm);
      initramfsHas(patient, WHOLE);
    },
  },
  {
    title: 'nofail in crypttab and not in fstab, which names a UUID',
    finds: 'nofail-mismatch',
    breaks(patient) {
      patient.options('data', 'luks,nofail');
      patient.write('fstab', 'UUID=0a1b /srv ext4 defaults 0 2\n');
      mountsLogicalVolume(patient, '/srv');
    },
  },
  {
    title: 'x-initrd.attach in crypttab, and the initramfs lacks the socket',
    finds: 'initramfs-incomplete',
    says: /lacks system\/fetch-luks-key@\.socket, sysinit/,
    breaks(patient) {
      patient.options('data', 'luks,x-initrd.attach');
      initramfsHas(patient, WHOLE.slice(0, 2));
    },
  },
  {
    title: 'the root file system is on the volume, and nothing lists the initramfs',
    finds: 'initramfs-not-checked',
    breaks(patient) {
      isRoot(patient);
      initramfsHas(patient, null);
    },
  },
];
