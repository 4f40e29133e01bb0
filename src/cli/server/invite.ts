import { AppError } from '../../base/errors.ts';
import { invitationLine } from '../invitation.ts';
import { ask, socketHelp, socketOption } from './asking.ts';
import { parseCommandLine } from './command-line.ts';
import { type GivenPolicy, policyOf, policyOptions } from './policy-options.ts';
import type { OperatorWorld, ServerCommand } from './world.ts';

export const inviteCommand: ServerCommand = {
  name: 'invite',
  summary: 'let a machine join: prints one line for it',
  help: `usage: luks-key-server invite NAME --url URL [POLICY] [--rejoin]
       luks-key-server invite NAME --url URL --tang --from CIDR [POLICY]

Prints one line that 'fetch-luks-key join' on the machine reads. It is good
once, for one hour. Whoever reads it first can join in the machine's place.

With --tang it makes a machine that has stock Clevis, and prints three lines:
'url' and 'thp' for Clevis; 'alive', a secret that keeps the machine armed and
belongs inside the volume which it protects.

  --url URL                where machines reach this server: for a Tang client
                           the listener that its configuration has for those
  --tang                   for stock Clevis; such a machine tells no boot, so has
                           no boot-grace, and announces none
  --lease DURATION         how long a machine stays armed after its last
                           keep-alive; default 15m, 0 = for ever
  --boot-grace DURATION    how long after a release the first one may come;
                           default 15m
  --late-keepalive WHAT    rearm (default) or lock
  --self-expect WHAT       reboot (default) or never
  --approval WHAT          auto (default) or manual
  --from CIDR              where the machine may ask from; repeatable; a Tang
                           client needs it
  --rejoin                 a new key for a machine that is known: it is locked
                           until 'luks-key-server allow NAME --fingerprint …', and
                           keeps its policy
${socketHelp}

example:
  luks-key-server invite nas --url https://keys.example:7443 |
    ssh root@nas fetch-luks-key join
  luks-key-server invite old-nas --url https://keys.example:7444 --tang \\
    --from 192.0.2.0/24
`,

  async run(args, world) {
    const { values, positionals } = parseCommandLine(
      'invite',
      args,
      {
        ...socketOption,
        ...policyOptions,
        url: { type: 'string' },
        tang: { type: 'boolean', default: false },
        rejoin: { type: 'boolean', default: false },
      },
      ['NAME'],
    );
    const [name = ''] = positionals;
    const url = originOf(values.url);
    if (values.tang) return await inviteTang(world, name, url, values);
    const request = {
      command: 'invite',
      name,
      policy: policyOf('invite', values),
      rejoin: values.rejoin,
    } as const;
    const answer = await ask<'invite'>(world, values.socket, request);
    const line = invitationLine(url, answer);
    const json = { name, line, 'expires-in-ms': answer['expires-in-ms'] };
    world.print(values.json ? `${JSON.stringify(json)}\n` : `${line}\n`);
    return 0;
  },
};

async function inviteTang(
  world: OperatorWorld,
  name: string,
  origin: string,
  values: GivenPolicy & { readonly socket: string; readonly json: boolean; readonly rejoin: boolean },
): Promise<number> {
  for (const option of ['boot-grace', 'self-expect', 'rejoin'] as const) {
    if (values[option] === undefined || values[option] === false) continue;
    throw new AppError('usage', `invite: --${option}: not with --tang`);
  }
  const request = { command: 'invite-tang', name, policy: policyOf('invite', values) } as const;
  const { path, thp, alive } = await ask<'invite-tang'>(world, values.socket, request);
  const url = `${origin}${path}`;
  world.print(
    values.json
      ? `${JSON.stringify({ name, url, thp, alive })}\n`
      : `url    ${url}\nthp    ${thp}\nalive  ${alive}\n`,
  );
  return 0;
}

function originOf(text: string | undefined): string {
  const url = text === undefined ? null : URL.parse(text);
  if (url?.protocol === 'https:' && url.pathname === '/' && url.username === '' && url.search === '')
    return url.origin;
  throw new AppError(
    'usage',
    `invite: --url: expected https://HOST:PORT, got ${JSON.stringify(text ?? '')}`,
    {
      hint: 'the address under which the machine reaches this server',
    },
  );
}
