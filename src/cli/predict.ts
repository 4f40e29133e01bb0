import { failureLine } from '../base/errors.ts';
import { volumeName } from '../base/names.ts';
import type { EventChange } from '../tpm/measured.ts';
import { type PcrNow, type Prediction, predict } from '../tpm/prediction.ts';
import { type Command, parseCommandLine, placeOptions, placesFrom } from './command.ts';
import { tpmKeysOf } from './tpm-keys.ts';

interface Predicted extends Prediction {
  /** Which sealed key: file, or `DEVICE token ID`. */
  readonly where: string;
}

export const predictCommand: Command = {
  name: 'predict',
  summary: 'tell which PCRs changed since sealing, and why',
  help: `usage: fetch-luks-key predict VOLUME [--json] [--etc DIR] [--crypttab FILE]

Compares what the TPM has measured of this boot with what VOLUME's key was
sealed to, and tells, as far as the firmware's event log does, which events
differ. Where the key accepts signed PCR values, it tells whether there is a
signature for those of now. Nothing is unsealed. Run it as root, for the log.

What it says is of this boot: after an update, of the one before the reboot.

  --json            print {"volume", "keys": [{"where", "opens", "why", "bank",
                    "pcrs": [{"pcr", "state", "events": [{"what", "number",
                    "name"}, ...], "why"}, ...], "signed": {"pcrs", "path"}},
                    ...]}
  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

exit status: 0, or 4 when the TPM would refuse a key for what it measured, 6
when it would for another reason

example, after an update of the firmware:
  fetch-luks-key predict data || fetch-luks-key reseal data
`,

  async run(args, world) {
    const options = { ...placeOptions, json: { type: 'boolean' } } as const;
    const { values, positionals } = parseCommandLine('predict', args, options, ['VOLUME']);
    const volume = volumeName(positionals[0] ?? '');
    const predictions: Predicted[] = [];
    for (const { where, object } of await tpmKeysOf(volume, placesFrom(values), world)) {
      predictions.push({ where, ...(await predict(object, world, world.signal)) });
    }
    if (values.json) world.print(`${JSON.stringify({ volume, keys: predictions.map(toJson) })}\n`);
    else for (const one of predictions) world.print(toText(one));
    return Math.max(0, ...predictions.map(({ fault }) => (fault === null ? 0 : fault.exitStatus)));
  },
};

function toJson({ where, fault, bank, pcrs, signed }: Predicted): object {
  return {
    where,
    opens: fault === null,
    why: fault === null ? null : failureLine(fault),
    bank,
    pcrs,
    signed: signed === null ? null : { pcrs: signed.ids, path: signed.path },
  };
}

function toText({ where, fault, pcrs, signed }: Predicted): string {
  const verdict = fault === null ? 'the TPM would unseal it now' : failureLine(fault);
  const lines = [`${where}: ${verdict}`, ...pcrs.flatMap(pcrLines)];
  if (signed !== null) {
    const signature = signed.path === null ? 'no signature' : `signed in ${signed.path}`;
    lines.push(`  PCR ${signed.ids.join(', ')}: ${signature} for the present values`);
  }
  return `${lines.join('\n')}\n`;
}

const states = {
  same: 'as sealed to',
  changed: 'changed',
  unknown: 'perhaps changed: which did, the sealed key does not tell',
};

function pcrLines({ pcr, state, events, why }: PcrNow): string[] {
  const first = `  PCR ${pcr}: ${states[state]}${why === null ? '' : `; ${why}`}`;
  return [first, ...(events ?? []).map((change) => `    ${eventLine(change)}`)];
}

function eventLine({ what, number, name }: EventChange): string {
  return name === null
    ? `event ${number} of then is gone`
    : `event ${number} is ${what === 'new' ? 'new' : 'another'}: ${name}`;
}
