import { files } from '../../src/os/files.ts';
import { runner } from '../../src/os/processes.ts';
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
];

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
    title: 'x-initrd.attach in crypttab, and the initramfs lacks the socket',
    finds: 'initramfs-incomplete',
    says: /lacks system\/fetch-luks-key@\.socket$/,
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
