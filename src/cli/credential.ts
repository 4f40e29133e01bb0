import { AppError, exitStatusOf } from '../base/errors.ts';
import { credentialAddress } from '../credentials/address.ts';
import { dropInFor } from '../credentials/drop-in.ts';
import { credentialPath } from '../credentials/place.ts';
import { type Command, etcOption, parseCommandLine } from './command.ts';
import { credentialsIn, type StoredCredential } from './credential-list.ts';
import type { World } from './world.ts';

export const credentialCommand: Command = {
  name: 'credential',
  summary: 'secrets of services: list them, hand them to a unit',
  help: `usage: fetch-luks-key credential list [--json] [--etc DIR]
       fetch-luks-key credential install UNIT ID [--etc DIR]

Secrets that services get as systemd credentials, by the same policies as keys
of volumes. 'seal --credential UNIT/ID' makes one.

  list       what is sealed, how it opens, and whether its unit asks for it
  install    write a drop-in that makes UNIT ask for the secret, and fail
             without it: /etc/systemd/system/UNIT.d/50-fetch-luks-key-ID.conf

  --json     print {"credentials": [{"unit", "credential", "path", "opens-by",
             "installed", "problem"}, ...]}
  --etc DIR  default /etc/fetch-luks-key

exit status of list: 0, or 6 when a sealed key is broken

example:
  fetch-luks-key seal --credential nginx.service/tls-key tpm2 '{}' < tls.key
  fetch-luks-key credential install nginx.service tls-key
  systemctl daemon-reload && systemctl restart nginx.service
`,

  async run(args, world) {
    const options = { json: { type: 'boolean' }, ...etcOption } as const;
    const { values, positionals } = parseCommandLine('credential', args, options, [
      'ACTION',
      '[UNIT]',
      '[ID]',
    ]);
    const [action, unit, id] = positionals;
    const json = values.json ?? false;
    if (action === 'list' && unit === undefined) return await list(values.etc, json, world);
    if (action === 'install' && unit !== undefined && id !== undefined && !json) {
      return await install(`${unit}/${id}`, values.etc, world);
    }
    throw new AppError('usage', 'credential: expected list, or install UNIT ID', {
      hint: 'see fetch-luks-key credential --help',
    });
  },
};

async function list(etc: string, json: boolean, world: World): Promise<number> {
  const all = await credentialsIn(etc, world.files);
  if (json) {
    const credentials = all.map(({ opensBy, ...one }) => ({ ...one, 'opens-by': opensBy }));
    world.print(`${JSON.stringify({ credentials })}\n`);
  } else for (const one of all) world.print(`${lineOf(one)}\n`);
  return all.some(({ problem }) => problem !== null) ? exitStatusOf.damaged : 0;
}

function lineOf({ unit, credential, opensBy, installed, problem }: StoredCredential): string {
  const what = problem === null ? opensBy : `broken: ${problem}`;
  return `${unit}/${credential}: ${what}${installed ? '' : ', no drop-in asks for it'}`;
}

async function install(name: string, etc: string, world: World): Promise<number> {
  const address = credentialAddress(name);
  const { folder, path, text } = dropInFor(address);
  world.durable.makeFolder(folder);
  world.durable.replace(path, Buffer.from(text));
  world.say(`wrote ${path}`);
  const { unit, credential } = address;
  if ((await world.files.mode(credentialPath(etc, unit, credential))) === null) {
    world.say(`next: fetch-luks-key seal --credential ${name} PIN CONFIG < SECRET`);
  }
  world.say(`next: systemctl daemon-reload && systemctl restart ${unit}`);
  return 0;
}
