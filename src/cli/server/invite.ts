import { AppError } from '../../base/errors.ts';
import { parseDuration } from '../../config/quantity.ts';
import type { OperatorRequest } from '../../wire/operator.ts';
import { invitationLine } from '../invitation.ts';
import { ask, socketHelp, socketOption } from './asking.ts';
import { parseCommandLine } from './command-line.ts';
import type { OperatorWorld, ServerCommand } from './world.ts';

export const policyOptions = {
  lease: { type: 'string' },
  'boot-grace': { type: 'string' },
  'late-keepalive': { type: 'string' },
  'self-expect': { type: 'string' },
  approval: { type: 'string' },
  from: { type: 'string', multiple: true },
} as const;

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
                           until 'luks-key-server allow NAME --fingerprint …'
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
    const request = { command: 'invite', name, policy: policyOf(values), rejoin: values.rejoin } as const;
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
  values: Given & { readonly socket: string; readonly json: boolean; readonly rejoin: boolean },
): Promise<number> {
  for (const option of ['boot-grace', 'self-expect', 'rejoin'] as const) {
    if (values[option] === undefined || values[option] === false) continue;
    throw new AppError('usage', `invite: --${option}: not with --tang`);
  }
  const request = { command: 'invite-tang', name, policy: policyOf(values) } as const;
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

type Policy = Extract<OperatorRequest, { command: 'invite' }>['policy'];
type Given = Readonly<
  Partial<Record<Exclude<keyof typeof policyOptions, 'from'>, string>> & { from?: string[] }
>;

/** @throws AppError `usage` */
function policyOf(values: Given): Policy {
  const duration = (name: 'lease' | 'boot-grace') => {
    const text = values[name];
    const ms = text === undefined ? undefined : parseDuration(text);
    if (ms === null) throw wrong(name, 'a duration with its unit (90s, 15m, 2h), or 0', text);
    return ms;
  };
  const choice = <const T extends string>(
    name: keyof Omit<Given, 'from'>,
    one: T,
    other: T,
  ): T | undefined => {
    const text = values[name];
    if (text === undefined || text === one || text === other) return text as T | undefined;
    throw wrong(name, `${one} or ${other}`, text);
  };
  return {
    'lease-ms': duration('lease'),
    'boot-grace-ms': duration('boot-grace'),
    'late-keepalive': choice('late-keepalive', 'rearm', 'lock'),
    'self-expect': choice('self-expect', 'reboot', 'never'),
    approval: choice('approval', 'auto', 'manual'),
    'allowed-from': values.from,
  };
}

function wrong(option: string, expected: string, got: string | undefined): AppError {
  return new AppError('usage', `invite: --${option}: expected ${expected}, got ${JSON.stringify(got)}`);
}
