import type { VolumeFacts } from '../status/volume.ts';
import { checkEnrolled } from './enrolled.ts';
import type { Facts, HeaderFacts } from './facts.ts';
import { type Finding, finding } from './finding.ts';

/** What the volumes' LUKS headers hold, and whether they are those that were enrolled. */
export function checkHeaders({ volumes, headers }: Facts): Finding[] {
  return [
    ...volumes.flatMap((volume) => [
      ...checkDevice(volume),
      ...checkIdentity(volume),
      ...checkEnrolled(volume),
    ]),
    ...headers.flatMap(checkHeader),
  ];
}

function checkDevice({ volume, device, header, headerFault, entry }: VolumeFacts): Finding[] {
  if (device === null || header !== null || entry.options.includes('noauto')) return [];
  if (headerFault === null) {
    const what = `${device} holds no LUKS header`;
    return [
      finding(
        'header-unusable',
        volume,
        what,
        'is it the right device? restore the header from a backup if it was overwritten',
      ),
    ];
  }
  const { code, message, hint } = headerFault;
  if (code === 'unavailable') {
    return [
      finding('device-missing', volume, message, 'name the device as blkid(8) does: UUID=… in crypttab'),
    ];
  }
  if (code === 'refused') {
    return [
      finding(
        'not-encrypted',
        volume,
        message,
        hint ?? 'somebody has changed the header: trust nothing on this disk',
      ),
    ];
  }
  return [
    finding(
      'header-unusable',
      volume,
      message,
      hint ?? 'restore it from a backup made by cryptsetup luksHeaderBackup',
    ),
  ];
}

function checkIdentity(facts: VolumeFacts): Finding[] {
  const { volume, device, header, committed, commitmentFault, used, url } = facts;
  if (commitmentFault !== null) {
    const { message, hint } = commitmentFault;
    const what = `${message}, so every key is refused`;
    return [finding('commitment-damaged', volume, what, hint ?? `fetch-luks-key enroll ${volume}`)];
  }
  if (header === null || (used.length === 0 && url === null)) return [];
  if (committed === null) {
    const what =
      'nothing says which key is the right one: a disk that somebody puts in its place, with a key of his own, is opened too';
    return [finding('no-commitment', volume, what, `fetch-luks-key enroll ${volume}`)];
  }
  if (committed.includes(header.uuid)) return [];
  const what = `${device} is another LUKS volume (${header.uuid}) than the one that was enrolled: its key is refused`;
  return [
    finding(
      'other-disk',
      volume,
      what,
      `if you did this: fetch-luks-key enroll ${volume}; if not, somebody has put another disk in place of yours`,
    ),
  ];
}

function checkHeader({
  volume: facts,
  emptyPassphraseOpens,
  fastKeyslots,
  isUnfinished,
}: HeaderFacts): Finding[] {
  const { volume, device, header, used, unused } = facts;
  if (header?.version !== 2) return [];
  const { tokens, activeKeyslots } = header.metadata;
  const findings: Finding[] = [];
  if (emptyPassphraseOpens === true) {
    const what = 'the empty passphrase opens it';
    findings.push(
      finding('empty-passphrase', volume, what, `cryptsetup luksRemoveKey ${device}, and press Enter`),
    );
  }
  for (const { id } of tokens.filter(
    ({ type, keyslots }) => type === 'clevis' && !keyslots.some((slot) => activeKeyslots.includes(slot)),
  )) {
    const what = `token ${id} seals the key of a keyslot that is gone`;
    findings.push(finding('token-dead', volume, what, `cryptsetup token remove --token-id ${id} ${device}`));
  }
  const named = tokens.flatMap(({ keyslots }) => keyslots);
  const fast = fastKeyslots.filter((id) => !named.includes(id));
  // A sealed key in a file does not say which keyslot it opens: one of them is its.
  const isInFile =
    used.some(({ keyslots }) => keyslots.length === 0) || (facts.url !== null && unused.length === 0);
  const leftover = isInFile ? fast.slice(1) : fast;
  for (const id of leftover) {
    const what = `keyslot ${id} is made for a random key, and no token names it: a left-over, or a passphrase that is quick to guess`;
    findings.push(
      finding(
        'keyslot-leftover',
        volume,
        what,
        `cryptsetup luksKillSlot ${device} ${id}, once another way in was tried`,
      ),
    );
  }
  if (isUnfinished) {
    const what = 'an enroll of it did not end, and has not been undone';
    findings.push(
      finding(
        'enrolment-unfinished',
        volume,
        what,
        `fetch-luks-key enroll ${volume} undoes it, and begins anew`,
      ),
    );
  }
  const isForPeople = (id: string) =>
    tokens.some(({ type, keyslots }) => type === 'systemd-recovery' && keyslots.includes(id)) ||
    (!named.includes(id) && !fastKeyslots.includes(id));
  if (!activeKeyslots.some(isForPeople)) {
    const what =
      'no passphrase and no recovery key opens it: when its sealed key does not, its data are lost';
    findings.push(finding('no-recovery', volume, what, `systemd-cryptenroll --recovery-key ${device}`));
  }
  return findings;
}
