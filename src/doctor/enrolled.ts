import type { SealedKeyFacts, VolumeFacts } from '../status/volume.ts';
import { type Finding, finding } from './finding.ts';

/** Whether the header still has the keyslots that were enrolled, and its tokens are those that were. */
export function checkEnrolled(facts: VolumeFacts): Finding[] {
  const { volume, device, header, used, enrolled, committed } = facts;
  if (header?.version !== 2 || enrolled.length === 0 || used.length === 0) return [];
  const states = used.map((key) => ({ key, state: stateOf(key, facts) }));
  if (!states.some(({ state }) => state === 'enrolled')) {
    const refused = committed === null ? '' : ', and the socket refuses the key of another';
    const what = `${device} has no keyslot that a sealed key of those enrolled opens${refused}: an older header was restored, or Clevis has made its key anew`;
    const fix = `if you did this: fetch-luks-key reseal ${volume}, or adopt where it is Clevis’; if not, somebody has changed the header`;
    return [finding('other-keys', volume, what, fix)];
  }
  return states.flatMap(({ key: { where, keyslots }, state }) => {
    if (state === 'enrolled') return [];
    if (state === 'dead') {
      const what = `${where}: the keyslot that its key was enrolled in is gone, or another one by now: it opens nothing`;
      return [finding('token-dead', volume, what, `fetch-luks-key reseal ${volume}`)];
    }
    const what = `${where} was not enrolled: the socket takes no key of it, and whoever opens it by himself has the volume`;
    const fix = `cryptsetup luksKillSlot ${device} ${keyslots[0]}, if it is from an older header and not yours`;
    return [finding('token-not-enrolled', volume, what, fix)];
  });
}

/**
 * A keyslot is the same as long as it has its salt, and then whatever sealed key names it has its key. A file names none:
 * of one that enroll has not written nothing is known.
 */
function stateOf(
  { text, keyslots }: SealedKeyFacts,
  { header, enrolled }: VolumeFacts,
): 'enrolled' | 'dead' | 'stranger' {
  const salts = header?.version === 2 ? header.metadata.salts : {};
  const lives = ({ keyslot, salt }: VolumeFacts['enrolled'][number]) =>
    salt === null || salts[keyslot] === salt;
  const own = enrolled.filter(({ sealedKey }) => sealedKey === text);
  if (own.length > 0) return own.some(lives) ? 'enrolled' : 'dead';
  if (keyslots.length === 0) return 'enrolled';
  return enrolled.some((one) => keyslots.includes(one.keyslot) && lives(one)) ? 'enrolled' : 'stranger';
}
