import { AppError, failureLine } from '../base/errors.ts';
import { type VolumeName, volumeName } from '../base/names.ts';
import { indexText, type RollbackLimit } from '../tpm/counter.ts';
import { type Command, parseCommandLine, placeOptions, placesFrom } from './command.ts';
import { type TpmKey, tpmKeysOf } from './tpm-keys.ts';
import type { World } from './world.ts';

export const retireCommand: Command = {
  name: 'retire',
  summary: 'have the TPM refuse what was sealed for a volume before',
  help: `usage: fetch-luks-key retire VOLUME [--json] [--etc DIR] [--crypttab FILE]

For a volume whose key was sealed to the TPM with rollback_counter. Advances the
counter to the limit of the newest sealed key, once it is shown that the TPM
would unseal that one. Whatever was sealed with the same counter before, and may
lie in an old header, a backup or a thief's copy, is refused by this TPM from
then on: for an old policy key, old signatures or an old firmware's PCR values.
There is no way back. Run it after each seal that is to replace another, and
after the first one.

  --json            print {"volume", "counters": [{"counter", "value"}, ...]}
  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

example:
  fetch-luks-key seal tpm2 '{"rollback_counter": "0x01800100"}' \\
    < KEYFILE > /etc/fetch-luks-key/volumes/data.jwe
  fetch-luks-key request data && fetch-luks-key retire data
`,

  async run(args, world) {
    const options = { ...placeOptions, json: { type: 'boolean' } } as const;
    const { values, positionals } = parseCommandLine('retire', args, options, ['VOLUME']);
    const volume = volumeName(positionals[0] ?? '');
    const newest = newestOf(await tpmKeysOf(volume, placesFrom(values), world), volume);
    for (const key of newest.values()) await mustOpen(key, world);
    const counters: { counter: string; value: string }[] = [];
    for (const { rollback } of newest.values()) {
      await world.tpm.retire(rollback, world.signal);
      counters.push({ counter: indexText(rollback.index), value: String(rollback.limit) });
    }
    if (values.json) world.print(`${JSON.stringify({ volume, counters })}\n`);
    else
      for (const one of counters)
        world.print(`${one.counter}: what was sealed before is refused from now on\n`);
    return 0;
  },
};

interface CountedKey extends TpmKey {
  readonly rollback: RollbackLimit;
}

/** By counter, the sealed key with the highest limit. @throws AppError `unknown-volume` when none has a counter */
function newestOf(keys: readonly TpmKey[], volume: VolumeName): Map<number, CountedKey> {
  const newest = new Map<number, CountedKey>();
  for (const key of keys) {
    const { rollback = null } = key.object;
    if (rollback === null) continue;
    const before = newest.get(rollback.index);
    if (before === undefined || before.rollback.limit < rollback.limit) {
      newest.set(rollback.index, { ...key, rollback });
    }
  }
  if (newest.size > 0) return newest;
  throw new AppError('unknown-volume', `no sealed key of ${volume} has a rollback_counter`, {
    hint: `fetch-luks-key seal tpm2 '{"rollback_counter": "0x01800100"}' makes one that has`,
  });
}

/** @throws AppError what keeps the TPM from unsealing it: then the older ones may be needed */
async function mustOpen({ where, object }: CountedKey, world: World): Promise<void> {
  try {
    await world.tpmLook.wouldUnseal(object, world.signal);
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown;
    const message = `${where}: the newest sealed key would not open, so none is retired: ${failureLine(thrown)}`;
    throw new AppError(thrown.code, message, { cause: thrown });
  }
}
