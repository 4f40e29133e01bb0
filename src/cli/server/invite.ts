import { AppError } from '../../base/errors.ts';
import { parseDuration } from '../../config/quantity.ts';
import type { OperatorRequest } from '../../wire/operator.ts';
import { parseCommandLine } from '../command.ts';
import { ask, socketHelp, socketOption } from './asking.ts';
import type { ServerCommand } from './world.ts';

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

Prints one line that 'fetch-luks-key join' on the machine reads. It is good
once, for one hour. Whoever reads it first can join in the machine's place.

  --url URL                where machines reach this server
  --lease DURATION         how long a machine stays armed after its last
                           keep-alive; default 15m, 0 = for ever
  --boot-grace DURATION    how long after a release the first one may come;
                           default 15m
  --late-keepalive WHAT    rearm (default) or lock
  --self-expect WHAT       reboot (default) or never
  --approval WHAT          auto (default) or manual
  --from CIDR              where the machine may ask from; repeatable
  --rejoin                 a new key for a machine that is known: it is locked
                           until 'luks-key-server allow NAME --fingerprint …'
  --state DIR              where the server's key is; default
                           /var/lib/luks-key-server
${socketHelp}

example:
  luks-key-server invite nas --url https://keys.example:7443 |
    ssh root@nas fetch-luks-key join
`,

  async run(args, world) {
    const { values, positionals } = parseCommandLine(
      'invite',
      args,
      {
        ...socketOption,
        ...policyOptions,
        url: { type: 'string' },
        rejoin: { type: 'boolean', default: false },
        state: { type: 'string', default: '/var/lib/luks-key-server' },
      },
      ['NAME'],
    );
    const [name = ''] = positionals;
    const url = originOf(values.url);
    const pin = await world.serverPin(values.state);
    const request = { command: 'invite', name, policy: policyOf(values), rejoin: values.rejoin } as const;
    const { invitation, 'expires-in-ms': expiresMs } = await ask<'invite'>(world, values.socket, request);
    const line = `${url}#pin=${pin.slice('sha256/'.length)}&name=${name}&invitation=${invitation}`;
    world.print(
      values.json ? `${JSON.stringify({ name, line, 'expires-in-ms': expiresMs })}\n` : `${line}\n`,
    );
    return 0;
  },
};

function originOf(text: string | undefined): string {
  const url = text === undefined ? null : URL.parse(text);
  if (url?.protocol === 'https:' && url.pathname === '/' && url.username === '' && url.search === '')
    return `${url.origin}/`;
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
