import { AppError } from '../base/errors.ts';
import { type VolumeName, volumeName } from '../base/names.ts';
import type { Secret } from '../base/secret.ts';
import { finish } from '../enroll/enrol.ts';
import { metadataOf } from '../enroll/header-steps.ts';
import { begin, type EnrolRecord, enrolledOf, keepsKeyslot, rewrite } from '../enroll/record.ts';
import type { Places } from '../handler/locate.ts';
import { Keyslots } from '../luks/keyslots.ts';
import { type Command, parseCommandLine, placeOptions, placesFrom } from './command.ts';
import { heal } from './enrolling.ts';
import { onlyOne } from './only-one.ts';
import { enrolledHere } from './renewing.ts';
import { askUntil } from './unlock.ts';
import type { World } from './world.ts';

const options = {
  ...placeOptions,
  'unlock-key-file': { type: 'string' },
  json: { type: 'boolean' },
} as const;

export const unenrollCommand: Command = {
  name: 'unenroll',
  summary: 'undo enroll: keyslot, sealed key, crypttab, key at a server',
  help: `usage: fetch-luks-key unenroll VOLUME [OPTIONS]

Removes all that enroll has made for VOLUME, once a passphrase has shown that it
opens without: the keyslots, the sealed keys, the keys at key servers, counters
in the TPM, and the change in crypttab if its line is still as enroll left it.
Units stay enabled while another volume is enrolled.

  --unlock-key-file FILE
                    a passphrase of another keyslot, - for standard input;
                    default: you are asked
  --json            print {"volume", "keyslots": [...]}
  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

example:
  fetch-luks-key unenroll data
`,

  async run(args, world) {
    const { values, positionals } = parseCommandLine('unenroll', args, options, ['VOLUME']);
    const volume = volumeName(positionals[0] ?? '');
    const places = placesFrom(values);
    using _lock = await onlyOne('unenroll', places.crypttab, world);
    const isHealed = await heal(volume, places, world);
    // One that was killed, and is done by now.
    if (isHealed && (await enrolledOf(places.etc, volume, world.files)).length === 0) return 0;
    const all = await enrolledHere(volume, places, world);
    const own = all.filter((record) => !keepsKeyslot(record));
    if (own.length > 0) (await otherWayIn(own, values['unlock-key-file'], world)).wipe();
    const isHandedOn = await handOn(
      all.flatMap(({ units }) => units),
      volume,
      places,
      world,
    );
    for (const record of all.toReversed()) {
      const undo = isHandedOn ? { ...record, units: [] } : record;
      const unfinished = { undo, enrolled: all.slice(0, all.indexOf(record)) };
      begin(places.etc, unfinished, world.durable);
      await finish(unfinished, places, new Keyslots(record.device, world), world);
    }
    const keyslots = own.map(({ keyslot }) => Number(keyslot));
    const what =
      own.length === 0
        ? 'what opened it by itself before does so again'
        : `keyslot ${keyslots.join(', ')} is wiped; the passphrase opens it`;
    const text = `unenrolled ${volume}: ${what}\n`;
    world.print(values.json ? `${JSON.stringify({ volume, keyslots })}\n` : text);
    return 0;
  },
};

/**
 * Units that this volume has enabled are another one's to disable while that is enrolled.
 * @returns whether there is one
 */
async function handOn(
  units: readonly string[],
  volume: VolumeName,
  { etc }: Places,
  { files, durable }: World,
): Promise<boolean> {
  for (const name of await files.list(`${etc}/enrolled`)) {
    const [, other] = /^(.+)\.json$/.exec(name) ?? [];
    if (other === undefined || other === volume) continue;
    const records = await enrolledOf(etc, volumeName(other), files);
    const [last] = records.slice(-1);
    if (last === undefined) continue;
    const heir = { ...last, units: [...new Set([...last.units, ...units])] };
    rewrite(etc, volumeName(other), [...records.slice(0, -1), heir], durable);
    return true;
  }
  return false;
}

/** What is left must open the volume: without it the data would be lost. */
async function otherWayIn(
  all: readonly EnrolRecord[],
  file: string | undefined,
  world: World,
): Promise<Secret> {
  const [record] = all;
  if (record === undefined) throw new Error('nothing is enrolled');
  const { device } = record;
  const { activeKeyslots } = await metadataOf({ record, world });
  const others = activeKeyslots.filter((id) => !all.some(({ keyslot }) => keyslot === id));
  if (others.length === 0) {
    throw new AppError('refused', `${device}: no other keyslot opens it: the data would be lost`, {
      hint: `add a passphrase first: cryptsetup luksAddKey ${device}`,
    });
  }
  const keyslots = new Keyslots(device, world);
  const opens = async (passphrase: Secret) => {
    for (const id of others) if (await keyslots.opens(passphrase, world.signal, id)) return true;
    return false;
  };
  return await askUntil(opens, device, file, world);
}
