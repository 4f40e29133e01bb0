import type { GuestFile } from './guest.ts';

/**
 * A mount of `path` that waits for the volume `data` as one of fstab does, by way of the device. A container has no
 * device units, and systemd ignores devices in its fstab, so this names the service that makes the device, and mounts
 * memory. It only wants the volume: in a container no volume is ever set up.
 */
export function mountOnVolume(path: string): {
  readonly unit: string;
  readonly files: Readonly<Record<string, GuestFile>>;
} {
  const unit = `${path.slice(1).replaceAll('/', '-')}.mount`;
  return { unit, files: { [`/etc/systemd/system/${unit}`]: { content: content(path) } } };
}

const content = (path: string) => `[Unit]
Description=${path} on the volume
Wants=systemd-cryptsetup@data.service
After=systemd-cryptsetup@data.service
Before=local-fs.target
[Mount]
What=tmpfs
Where=${path}
Type=tmpfs
[Install]
RequiredBy=local-fs.target
`;
