import { asAppError } from '../base/errors.ts';
import { checkOptions } from '../luks/crypttab-edit.ts';
import type { VolumeFacts } from '../status/volume.ts';
import type { Facts, Mount } from './facts.ts';
import { type Finding, finding } from './finding.ts';

/** What the volumes' lines in crypttab and fstab say. */
export function checkVolumes({ volumes, mounts, crypttab }: Facts): Finding[] {
  return volumes.flatMap((volume) => [
    ...checkLine(volume, crypttab),
    ...checkMounts(volume, mounts),
    ...checkFailing(volume),
    ...checkSealedKeys(volume),
  ]);
}

/** dm-crypt without a header takes any key. */
const PLAIN = /^(?:plain|swap|tmp(?:=.*)?)$/;

function checkLine({ entry, volume }: VolumeFacts, crypttab: string): Finding[] {
  return entry.options.flatMap((option) => {
    const place = `${crypttab}:${entry.line}`;
    if (PLAIN.test(option)) {
      const what = `${option} in ${place}: without a header any answer is taken for the key, a refusal too, and what is on the disk reads as garbage`;
      return [
        finding('plain-volume', volume, what, 'use LUKS2: cryptsetup luksFormat, and take the option out'),
      ];
    }
    try {
      checkOptions([option], place);
      return [];
    } catch (thrown) {
      return [
        finding('option-conflict', volume, asAppError(thrown).message, 'take the option out of the line'),
      ];
    }
  });
}

function checkMounts({ entry, volume }: VolumeFacts, mounts: readonly Mount[]): Finding[] {
  if (!entry.options.includes('nofail')) return [];
  return mounts
    .filter((mount) => mount.volume === volume)
    .filter(({ options }) => !options.includes('nofail') && !options.includes('noauto'))
    .map(({ path }) => {
      const what = `crypttab says nofail, fstab does not for ${path}: without the volume the boot ends in emergency mode`;
      return finding('nofail-mismatch', volume, what, `add nofail to the options of ${path} in fstab`);
    });
}

function checkFailing({ entry: { options }, volume }: VolumeFacts): Finding[] {
  const findings: Finding[] = [];
  if (!['nofail', 'noauto', '_netdev'].some((option) => options.includes(option))) {
    const what = 'the boot waits for it, for as long as its key does not come';
    findings.push(
      finding(
        'holds-up-boot',
        volume,
        what,
        'if the machine can do without it: nofail in crypttab and fstab',
      ),
    );
  }
  if (!options.some((option) => /^headless(?:=(?:1|yes|true|on))?$/.test(option))) {
    const what = 'when its key does not come, systemd asks for a passphrase, and waits for one';
    findings.push(
      finding('may-prompt', volume, what, 'where nobody is at the machine: headless=1 in crypttab'),
    );
  }
  return findings;
}

function checkSealedKeys({ volume, used, url, header, headerFault, device }: VolumeFacts): Finding[] {
  // What its tokens say is not known.
  if (used.length === 0 && url === null && headerFault === null && (header !== null || device === null)) {
    const what =
      'there is no sealed key for it: no file, no url in config.yaml, no clevis token with a keyslot';
    return [finding('no-sealed-key', volume, what, `fetch-luks-key enroll ${volume}`)];
  }
  const broken = used.filter(({ fault }) => fault !== null);
  // Of a file `check` tells.
  const tokens = broken.filter(({ keyslots }) => keyslots.length > 0);
  const code = broken.length === used.length ? 'sealed-key-damaged' : 'token-dead';
  return tokens.map(({ where, fault }) =>
    finding(
      code,
      volume,
      `${where}: ${fault?.message}`,
      `open it with a passphrase, then fetch-luks-key enroll ${volume}`,
    ),
  );
}
