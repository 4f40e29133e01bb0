import { AppError, asAppError, failureLine } from '../base/errors.ts';
import { volumeName } from '../base/names.ts';
import type { Secret } from '../base/secret.ts';
import { countersIn } from '../enroll/counters.ts';
import { newKey } from '../enroll/plan.ts';
import { openEnrolled } from '../enroll/prove.ts';
import type { EnrolRecord } from '../enroll/record.ts';
import type { Places } from '../handler/locate.ts';
import { Keyslots } from '../luks/keyslots.ts';
import { type Command, parseCommandLine, placeOptions, placesFrom } from './command.ts';
import { heal, namedPolicy, pinHelp, pinOptions, policyNow } from './enrolling.ts';
import { onlyOne } from './only-one.ts';
import { enrolledHere, renew, renewable, renewedText } from './renewing.ts';
import { knowingPins, oldAndNew, oldPinFileOption, type SealingWorld } from './tpm-pin.ts';
import { unlock } from './unlock.ts';
import type { World } from './world.ts';

const options = {
  ...placeOptions,
  ...pinOptions,
  ...oldPinFileOption,
  'unlock-key-file': { type: 'string' },
  'no-crypttab': { type: 'boolean' },
  yes: { type: 'boolean', short: 'y' },
  json: { type: 'boolean' },
} as const;

type Values = ReturnType<typeof parseCommandLine<typeof options>>['values'];

export const resealCommand: Command = {
  name: 'reseal',
  summary: 'seal a volume’s key anew: after an update, or in another way',
  help: `usage: fetch-luks-key reseal VOLUME [--tpm2] [--remote NAME]... [--tang URL]...
                             [--require K] [OPTIONS]

Seals the key that enroll made for VOLUME anew: to the PCR values of now, as
before or in the way that is named. The key stays the same if its sealed key
opens still; if not, a passphrase opens the volume, and a new key takes its
place. The old sealed key goes once the new one has opened the volume.

${pinHelp}
  --tpm2-old-pin-file FILE
                    the PIN until now, where --tpm2-pin-file has another one

  --unlock-key-file FILE
                    what opens the volume if the sealed key does not, - for
                    standard input; default: you are asked
  --no-crypttab     leave crypttab as it is
  -y, --yes         trust a Tang server's keys without being asked
  --json            print {"volume", "keyslot", "old-keyslot", ...}
  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

example, after an update of the firmware:
  fetch-luks-key reseal data
`,

  async run(args, base) {
    const { values, positionals } = parseCommandLine('reseal', args, options, ['VOLUME']);
    const world = knowingPins(base, oldAndNew(values));
    const volume = volumeName(positionals[0] ?? '');
    const places = placesFrom(values);
    const policy = await namedPolicy(values, places.etc, world);
    using _lock = await onlyOne('reseal', places.crypttab, world);
    await heal(volume, places, world);
    const all = renewable(await enrolledHere(volume, places, world));
    if (policy !== null && all.length > 1) {
      throw new AppError('usage', `reseal: ${volume} has ${all.length} sealed keys, and one way is named`, {
        hint: 'without a way each is sealed as before; unenroll and enroll make one of them',
      });
    }
    for (const note of policy?.warnings ?? []) world.say(`note: ${note}`);
    for (const old of all)
      await resealOne(
        { ...old, policy: policy ?? (await policyNow(old.policy, values.etc, world)) },
        places,
        values,
        world,
      );
    return 0;
  },
};

async function resealOne(
  old: EnrolRecord,
  places: Places,
  values: Values,
  world: SealingWorld,
): Promise<void> {
  const startMs = world.clock.nowMs();
  const keyslots = new Keyslots(old.device, world);
  using kept = await openedOr(old, keyslots, places, world);
  using other =
    kept === null ? await unlock(old.volume, places, keyslots, values['unlock-key-file'], world) : null;
  using fresh = kept === null ? newKey(world.random) : null;
  const key = kept ?? fresh;
  const passphrase = kept ?? other;
  if (key === null || passphrase === null) throw new Error('neither a key that is kept nor a new one');
  const { policy } = old;
  const [editCrypttab, trusting] = [!values['no-crypttab'], values.yes ?? false];
  const renewal = { old, policy, key, keyIsKept: kept !== null, passphrase, editCrypttab, trusting };
  const renewed = await renew('reseal', renewal, places, world);
  const milliseconds = Math.round(world.clock.nowMs() - startMs);
  world.print(renewedText('resealed', renewal, renewed, milliseconds, values.json ?? false));
  if (kept === null || countersIn(policy).length === 0) return;
  world.say(
    `next: fetch-luks-key request ${old.volume} && fetch-luks-key retire ${old.volume}; until then the TPM opens what was sealed before, too`,
  );
}

/** @returns null when its sealed key does not open any more, which is why one seals anew */
async function openedOr(
  old: EnrolRecord,
  keyslots: Keyslots,
  places: Places,
  world: World,
): Promise<Secret | null> {
  try {
    const key = await openEnrolled(old, places, world, world.signal);
    if (await keyslots.opens(key, world.signal, old.keyslot)) return key;
    key.wipe();
    world.say(
      `note: a new key takes its place, as keyslot ${old.keyslot} is not the one that was enrolled: an older header was restored, whose keys open the volume too until you remove them`,
    );
    return null;
  } catch (thrown) {
    const error = asAppError(thrown);
    if (error.code === 'stopped' || error.code === 'bug') throw error;
    world.say(`note: a new key takes its place, as the sealed one does not open: ${failureLine(error)}`);
    return null;
  }
}
