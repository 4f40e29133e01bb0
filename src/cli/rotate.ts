import { AppError, asAppError, failureLine } from '../base/errors.ts';
import { volumeName } from '../base/names.ts';
import { metadataOf } from '../enroll/header-steps.ts';
import { newKey } from '../enroll/plan.ts';
import { isKeyOf } from '../enroll/prove.ts';
import { type EnrolRecord, enrolledOf } from '../enroll/record.ts';
import { leaveProofs } from '../handler/alive.ts';
import type { Places } from '../handler/locate.ts';
import { Keyslots } from '../luks/keyslots.ts';
import { parseSealedKey } from '../pins/table.ts';
import { type Command, parseCommandLine, placeOptions, placesFrom } from './command.ts';
import { heal, policyNow } from './enrolling.ts';
import { onlyOne } from './only-one.ts';
import { enrolledHere, renew, renewable, renewedText } from './renewing.ts';
import { knowingPins, oldAndNew, oldPinFileOption, pinFileOption, type SealingWorld } from './tpm-pin.ts';
import { unlock } from './unlock.ts';

const options = {
  ...placeOptions,
  all: { type: 'boolean' },
  'unlock-key-file': { type: 'string' },
  ...pinFileOption,
  ...oldPinFileOption,
  yes: { type: 'boolean', short: 'y' },
  json: { type: 'boolean' },
} as const;

type RotateValues = Pick<
  ReturnType<typeof parseCommandLine<typeof options>>['values'],
  'etc' | 'crypttab' | 'unlock-key-file' | 'yes' | 'json'
>;

export const rotateCommand: Command = {
  name: 'rotate',
  summary: 'a new key for a volume: proven, then the old one is wiped',
  help: `usage: fetch-luks-key rotate VOLUME|--all [OPTIONS]

Replaces each key that enroll made for VOLUME by a new one, sealed in the same
way. The old keyslot and its sealed key are wiped once the new key has opened
the volume; killed at any moment, one of the two opens it. A header backup that
is older brings the old key back.

  --all             every volume that was enrolled; goes on after a failure
  --unlock-key-file FILE
                    what opens the volume now, - for standard input; default:
                    its sealed key, or you are asked
  --tpm2-pin-file FILE
                    the PIN that its TPM asks for, old and new; default: you
                    are asked
  --tpm2-old-pin-file FILE
                    the PIN until now, where that has another one
  -y, --yes         trust new keys of a Tang server without being asked
  --json            print {"volume", "keyslot", "old-keyslot", ...}, a line for
                    each key
  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

example:
  fetch-luks-key rotate data
`,

  async run(args, base) {
    const all = args.includes('--all');
    const { values, positionals } = parseCommandLine('rotate', args, options, all ? [] : ['VOLUME']);
    const world = knowingPins(base, oldAndNew(values));
    const places = placesFrom(values);
    using _lock = await onlyOne('rotate', places.crypttab, world);
    if (!all) return await rotate(positionals[0] ?? '', places, values, world);
    let worst = 0;
    const names = (await world.files.list(`${places.etc}/enrolled`)).filter((name) => name.endsWith('.json'));
    for (const name of names) {
      const volume = name.slice(0, -'.json'.length);
      try {
        const records = await enrolledOf(places.etc, volumeName(volume), world.files);
        if (records.length > 0 && records.every(({ store }) => store.kind === 'clevis')) {
          world.say(`note: ${volume}: its key is Clevis’ own, and stays: clevis luks regen makes a new one`);
          continue;
        }
        await rotate(volume, places, values, world);
      } catch (thrown) {
        const error = asAppError(thrown);
        if (world.signal.aborted) throw error;
        world.say(`fetch-luks-key: ${volume}: ${failureLine(error)}`);
        worst = Math.max(worst, error.exitStatus);
      }
    }
    if (names.length === 0) throw new AppError('unknown-volume', 'rotate: nothing was enrolled here');
    return worst;
  },
};

export async function rotate(
  name: string,
  places: Places,
  values: RotateValues,
  world: SealingWorld,
): Promise<number> {
  const volume = volumeName(name);
  await heal(volume, places, world);
  for (const old of renewable(await enrolledHere(volume, places, world))) {
    await rotateOne(old, places, values, world);
  }
  return 0;
}

async function rotateOne(
  old: EnrolRecord,
  places: Places,
  values: RotateValues,
  world: SealingWorld,
): Promise<void> {
  const startMs = world.clock.nowMs();
  await metadataOf({ record: old, world });
  const keyslots = new Keyslots(old.device, world);
  using passphrase = await unlock(old.volume, places, keyslots, values['unlock-key-file'], world);
  // Who opened the volume at boot may have typed a passphrase: servers seal a further key for who shows that he has one.
  if (isKeyOf(old, passphrase)) leaveProofs(passphrase, parseSealedKey(old.sealedKey).uses, world.leaveProof);
  using key = newKey(world.random);
  const trusting = values.yes ?? false;
  const policy = await policyNow(old.policy, places.etc, world);
  const renewal = { old, policy, key, keyIsKept: false, passphrase, editCrypttab: false, trusting };
  const renewed = await renew('rotate', renewal, places, world);
  const milliseconds = Math.round(world.clock.nowMs() - startMs);
  world.print(renewedText('rotated', renewal, renewed, milliseconds, values.json ?? false));
}
