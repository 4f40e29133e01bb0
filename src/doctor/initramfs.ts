import type { Facts } from './facts.ts';
import { type Finding, finding } from './finding.ts';

/** Volumes that are opened before the root file system is there: what opens them has to be in the initramfs. */
export function checkInitramfs({ initramfs }: Facts): Finding[] {
  return initramfs.flatMap(({ volume, image, missing }) => {
    if (missing === null) {
      const what = `it is opened in the initramfs, and what is in ${image} could not be listed`;
      return [
        finding(
          'initramfs-not-checked',
          volume,
          what,
          'look for usr/bin/fetch-luks-key in it: lsinitramfs, lsinitrd',
        ),
      ];
    }
    if (missing.length === 0) return [];
    const what = `it is opened in the initramfs, and ${image} lacks ${missing.join(', ')}`;
    return [
      finding(
        'initramfs-incomplete',
        volume,
        what,
        'keep a passphrase for it, and do not rely on its key coming by itself',
      ),
    ];
  });
}
