import { AppError } from '../base/errors.ts';
import { type VolumeName, volumeName } from '../base/names.ts';
import { findForeign, foreignText } from '../enroll/adopt.ts';
import { type EnrolRecord, enrolledOf } from '../enroll/record.ts';
import { findTarget, type Target } from '../enroll/target.ts';
import type { Places } from '../handler/locate.ts';
import { findInCrypttab } from '../luks/crypttab.ts';
import { adoptBeside } from './adopt-beside.ts';
import { adoptClevis } from './adopt-clevis.ts';
import { type Command, parseCommandLine, placeOptions, placesFrom } from './command.ts';
import { heal, pinHelp, pinOptions } from './enrolling.ts';
import { onlyOne } from './only-one.ts';
import { DEFAULT_SOCKET } from './request.ts';
import { knowingPins, pinFile } from './tpm-pin.ts';
import type { World } from './world.ts';

const options = {
  ...placeOptions,
  ...pinOptions,
  replace: { type: 'boolean' },
  'unlock-key-file': { type: 'string' },
  socket: { type: 'string', default: DEFAULT_SOCKET },
  yes: { type: 'boolean', short: 'y' },
  'dry-run': { type: 'boolean' },
  json: { type: 'boolean' },
} as const;

type Values = ReturnType<typeof parseCommandLine<typeof options>>['values'];

/** A volume that others have made open by itself. */
export interface Adoption {
  readonly target: Target;
  /** What enroll and adopt have made of it so far. */
  readonly records: readonly EnrolRecord[];
  readonly places: Places;
  readonly values: Values;
  /** Monotonic. */
  readonly startMs: number;
}

export const adoptCommand: Command = {
  name: 'adopt',
  summary: 'take over from Clevis, systemd-cryptenroll or a key file',
  help: `usage: fetch-luks-key adopt VOLUME [--tpm2] [--remote NAME]... [--tang URL]...
                            [--require K] [--replace] [OPTIONS]

Has the socket open a volume that something else opens by itself until now, and
proves that it does; killed at any moment, one of the two opens it.

What clevis luks bind made stays as it is: crypttab then names the socket, and
no key but Clevis' opens by it. Beside a TPM2 token of systemd-cryptenroll, or
the key file that crypttab names, a new key is enrolled, and their options are
taken out of crypttab.

${pinHelp}
                    Without any, it is the TPM beside a TPM2 token; beside a key
                    file, what there is is proposed.
  --replace         then remove the TPM2 token with its keyslot, or the keyslot
                    of the key file; the file itself stays

  --unlock-key-file FILE
                    what opens the volume now, - for standard input; default:
                    the key file of crypttab, or you are asked
  --socket PATH     default ${DEFAULT_SOCKET}
  -y, --yes         take the proposal, and a Tang server's keys, without being
                    asked
  --dry-run         print what would be done, and do nothing
  --json            print {"volume", "from", "keyslot", ...}, a line for each
                    binding of Clevis
  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

example, for a volume that a key file on the root file system opens:
  fetch-luks-key adopt data --tpm2 --remote home --replace
`,

  async run(args, base) {
    const { values, positionals } = parseCommandLine('adopt', args, options, ['VOLUME']);
    const world = knowingPins(base, { toSeal: pinFile(values['tpm2-pin-file']) });
    const volume = volumeName(positionals[0] ?? '');
    const places = placesFrom(values);
    const startMs = world.clock.nowMs();
    using _lock = values['dry-run'] ? null : await onlyOne('adopt', places.crypttab, world);
    if (!values['dry-run']) await heal(volume, places, world);
    const target = await targetOf(volume, places.crypttab, world);
    const records = await enrolledOf(places.etc, volume, world.files);
    const [foreign = null, ...others] = await findForeign(target, records, values.socket, world.files);
    for (const other of others) world.say(`note: ${foreignText(other)} opens it too, and stays`);
    const adoption = { target, records, places, values, startMs };
    if (foreign?.kind === 'clevis') return await adoptClevis(foreign.tokens, adoption, world);
    if (foreign !== null) return await adoptBeside(foreign, adoption, world);
    if (records.length === 0) throw nothingFound(target);
    world.print(
      values.json
        ? `${JSON.stringify({ volume, from: null, done: false })}\n`
        : `${volume}: nothing is left to adopt: it was enrolled\n`,
    );
    return 0;
  },
};

async function targetOf(volume: VolumeName, crypttab: string, { files }: World): Promise<Target> {
  if ((await findInCrypttab(files, crypttab, volume)) !== null) {
    return await findTarget(volume, crypttab, null, files);
  }
  throw new AppError('usage', `adopt: ${crypttab} has no line for ${volume}`, {
    hint: `write it first, or fetch-luks-key enroll ${volume} --device PATH`,
  });
}

function nothingFound({ volume, device }: Target): AppError {
  return new AppError(
    'unknown-volume',
    `${device}: nothing to adopt: no binding of Clevis, no TPM2 token of systemd-cryptenroll, no key file`,
    { hint: `fetch-luks-key enroll ${volume}` },
  );
}
