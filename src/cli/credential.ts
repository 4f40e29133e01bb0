import { AppError, exitStatusOf } from '../base/errors.ts';
import { type Command, etcOption, parseCommandLine } from './command.ts';
import { install } from './credential-install.ts';
import { credentialsIn, type StoredCredential } from './credential-list.ts';
import { edit, rotate } from './credential-renew.ts';
import { knowingPins, oldAndNew, pinFileOption } from './tpm-pin.ts';
import type { World } from './world.ts';

const options = {
  ...etcOption,
  ...pinFileOption,
  encrypted: { type: 'boolean' },
  shared: { type: 'boolean' },
  yes: { type: 'boolean', short: 'y' },
  json: { type: 'boolean' },
} as const;

type Values = ReturnType<typeof parseCommandLine<typeof options>>['values'];

export const credentialCommand: Command = {
  name: 'credential',
  summary: 'secrets of services: list, hand to a unit, edit, rotate',
  help: `usage: fetch-luks-key credential list [--json] [--etc DIR]
       fetch-luks-key credential install UNIT ID [--encrypted] [--shared]
                                 [--etc DIR]
       fetch-luks-key credential edit|rotate UNIT ID [PIN CONFIG] [-y] [--json]
                                 [--etc DIR]

Secrets that services get as systemd credentials, by the same policies as keys
of volumes. 'seal --credential UNIT/ID' makes one.

  list       what is sealed, how it opens, and whether its unit asks for it
  install    write a drop-in that makes UNIT ask for the secret, and fail
             without it: /etc/systemd/system/UNIT.d/50-fetch-luks-key-ID.conf
  edit       open the secret, let $VISUAL or $EDITOR change it in memory that
             is never written to a disk, and seal it in the same way. A newline
             that the editor adds to its end is left away.
  rotate     seal the same secret anew, in the same way, under a new key
             Both prove that the new one opens before it takes the place of the
             old one, and have a server delete the key of the old one. PIN and
             CONFIG, as 'seal' takes them, are another way.

  --encrypted  by LoadCredentialEncrypted=, for what was sealed so: systemd
               authenticates what comes. Default: as it was sealed
  --shared     ask fetch-luks-key-encrypted.socket, one process for all, for
               boots with hundreds of services; implies --encrypted
  --tpm2-pin-file FILE
               the PIN of the TPM's key, - for standard input; default: you are
               asked
  -y, --yes    trust a Tang server's keys without being asked
  --json       print {"credentials": [{"unit", "credential", "path",
               "encrypted", "opens-by", "installed", "problem"}, ...]}; of edit
               and rotate {"credential", "path", "policy", "done"}
  --etc DIR    default /etc/fetch-luks-key

exit status of list: 0, or 6 when a sealed key is broken

example:
  fetch-luks-key seal --credential nginx.service/tls-key tpm2 '{}' < tls.key
  fetch-luks-key credential install nginx.service tls-key
  systemctl daemon-reload && systemctl restart nginx.service
`,

  async run(args, base) {
    const names = ['ACTION', '[UNIT]', '[ID]', '[PIN]', '[CONFIG]'];
    const { values, positionals } = parseCommandLine('credential', args, options, names);
    const [action = '', unit, id, ...way] = positionals;
    if (action === 'list' && unit === undefined && takes(values, ['json'])) {
      return await list(values.etc, values.json ?? false, base);
    }
    if (unit === undefined || id === undefined || way.length === 1) throw wrongUsage();
    if (action === 'install' && way.length === 0 && takes(values, ['encrypted', 'shared'])) {
      const { etc, encrypted = false, shared = false } = values;
      return await install(`${unit}/${id}`, { etc, form: encrypted ? 'encrypted' : null, shared }, base);
    }
    const renew = action === 'edit' ? edit : action === 'rotate' ? rotate : null;
    if (renew === null || !takes(values, ['json', 'yes', 'tpm2-pin-file'])) throw wrongUsage();
    const [pin, configText] = way;
    const newWay = pin === undefined || configText === undefined ? null : { pin, configText };
    const renewing = { etc: values.etc, json: values.json ?? false, trusting: values.yes ?? false };
    return await renew(`${unit}/${id}`, newWay, renewing, knowingPins(base, oldAndNew(values)));
  },
};

function takes(values: Values, allowed: readonly string[]): boolean {
  return Object.keys(values).every((option) => option === 'etc' || allowed.includes(option));
}

function wrongUsage(): AppError {
  return new AppError('usage', 'credential: expected list, or install, edit or rotate with UNIT ID', {
    hint: 'see fetch-luks-key credential --help',
  });
}

async function list(etc: string, json: boolean, world: World): Promise<number> {
  const all = await credentialsIn(etc, world.files);
  if (json) {
    const credentials = all.map(({ opensBy, ...one }) => ({ ...one, 'opens-by': opensBy }));
    world.print(`${JSON.stringify({ credentials })}\n`);
  } else for (const one of all) world.print(`${lineOf(one)}\n`);
  return all.some(({ problem }) => problem !== null) ? exitStatusOf.damaged : 0;
}

function lineOf({ unit, credential, encrypted, opensBy, installed, problem }: StoredCredential): string {
  const what = problem === null ? opensBy : `broken: ${problem}`;
  const how = encrypted ? ', encrypted' : '';
  return `${unit}/${credential}: ${what}${how}${installed ? '' : ', no drop-in asks for it'}`;
}
