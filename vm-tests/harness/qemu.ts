import { join } from 'node:path';
import type { Guest } from './guest.ts';
import { type MachineImage, ROOT_PARTITION } from './machine-image.ts';

/** What a machine is made of, in QEMU's words. */

/** Without self tests and mitigations the kernel is through in half the time. */
const KERNEL_ARGUMENTS = [
  ...[`root=PARTUUID=${ROOT_PARTITION}`, 'rootwait', 'rw', 'rootfstype=ext4', 'init=/boot-test/init'],
  ...['console=ttyS0', 'loglevel=4', 'systemd.show_status=1', 'panic=-1'],
  ...['cryptomgr.notests', 'mitigations=off', 'audit=0', 'apparmor=0'],
];

const disksOf = (guest: Guest) => ['root', ...guest.disks.map(({ serial }) => serial)];

/** @param folder of the boot, with its disks; console and report go there @param tpm socket of an emulated TPM; null = none */
export function qemuArguments(
  folder: string,
  image: Pick<MachineImage, 'kernel'>,
  guest: Guest,
  tpm: string | null,
): string[] {
  const file = (name: string) => join(folder, name);
  const drive = (id: string, file: string, format: string) => [
    '-drive',
    `file=${file},if=none,id=${id},format=${format},cache=unsafe`,
  ];
  return [
    ...['-M', 'q35,usb=off,vmport=off', '-accel', 'tcg,thread=multi,tb-size=512'],
    // More than one processor, or one that claims to do more, crashed guests now and then under QEMU 7.2.
    ...['-cpu', 'Nehalem,-cx16', '-smp', '1', '-m', '1024'],
    ...['-display', 'none', '-nodefaults', '-no-user-config', '-no-reboot'],
    ...['-serial', `file:${file('console.log')}`, '-serial', `file:${file('report.log')}`],
    ...disksOf(guest).flatMap((id) => drive(id, file(`${id}.qcow2`), 'qcow2')),
    ...drive('files', `${file('files.tar')},readonly=on`, 'raw'),
    ...['root', 'files'].flatMap((id) => ['-device', `nvme,drive=${id},serial=${id}`]),
    ...guest.disks.flatMap(({ serial }) => ['-device', `virtio-blk-pci,drive=${serial},serial=${serial}`]),
    ...(tpm === null ? [] : tpmDevice(tpm)),
    ...(guest.network ? ['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile='] : []),
    ...['-kernel', image.kernel, '-append', [...KERNEL_ARGUMENTS, guest.append].join(' ')],
  ];
}

function tpmDevice(socket: string): string[] {
  const backend = ['-chardev', `socket,id=swtpm,path=${socket}`, '-tpmdev', 'emulator,id=tpm,chardev=swtpm'];
  return [...backend, '-device', 'tpm-crb,tpmdev=tpm'];
}
