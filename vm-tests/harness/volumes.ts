import { makeImage, PASSPHRASE } from '../../test/support/luks.ts';

/** The socket that `systemctl enable fetch-luks-key@.socket` makes. */
export const SOCKET = '/run/fetch-luks-key/default.sock';
export const SOCKET_UNIT = 'fetch-luks-key@default.socket';

/** A LUKS2 disk of 20 MiB, opened by `key`. */
export interface Disk {
  readonly serial: string;
  readonly image: string;
  readonly key: string;
}

export function makeDisk(folder: string, serial: string): Disk {
  const { path } = makeImage(folder, `${serial}.luks`);
  return { serial, image: path, key: PASSPHRASE };
}

/** A line of crypttab for a disk in a container, where it is a file: that needs no device unit. */
export function crypttabLine(
  disk: Disk,
  options = 'luks,headless=1',
  keyFile = SOCKET,
  name = disk.serial,
): string {
  return `${name} /disks/${disk.serial} ${keyFile} ${options}\n`;
}

/**
 * Without device mapper systemd's client ends with status 1 with the right key too. Where that would hide what is
 * asked, it passes for success, and whether the key was right is left to `opensVolume`.
 */
export const TAKEN_FOR_OPEN = {
  '/etc/systemd/system/systemd-cryptsetup@.service.d/boot-test.conf': {
    content: '[Service]\nSuccessExitStatus=1\n',
  },
};

/** What the boot's own handlers said, before anybody else asks them. */
export const BOOT_SAID = `while systemctl --quiet is-active 'fetch-luks-key@*.service'; do sleep 0.1; done
journalctl --sync; journalctl -b -t fetch-luks-key -o cat --no-pager | sed 's/^/boot: /'\n`;

/**
 * Shows what the boot's handlers said, and whether the key that comes through the socket opens the volume: what a
 * container can tell without device mapper.
 */
export function opensVolume(disk: Disk): string {
  return `${BOOT_SAID}fetch-luks-key request ${disk.serial} --output - |
  cryptsetup open --test-passphrase --key-file=- /disks/${disk.serial} && echo '${disk.serial}: the key opens it'\n`;
}
