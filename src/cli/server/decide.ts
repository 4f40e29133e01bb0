import { AppError } from '../../base/errors.ts';
import { parseDuration } from '../../config/quantity.ts';
import type { OperatorRequest } from '../../wire/operator.ts';
import { ask, socketHelp, socketOption } from './asking.ts';
import { parseCommandLine } from './command-line.ts';
import { machineLine } from './list.ts';
import type { OperatorWorld, ServerCommand } from './world.ts';

/** Asks, and shows the machine as it is now. */
export async function decide(
  world: OperatorWorld,
  values: { readonly socket: string; readonly json: boolean },
  request: OperatorRequest,
): Promise<number> {
  const { machine } = await ask<'machine'>(world, values.socket, request);
  world.print(values.json ? `${JSON.stringify(machine)}\n` : `${machineLine(machine, world.nowMs())}\n`);
  return 0;
}

export const lockCommand: ServerCommand = {
  name: 'lock',
  summary: 'release nothing to a machine until it is allowed',
  help: `usage: luks-key-server lock NAME

From the next request on, the machine gets nothing, whatever it shows. A machine
that runs is told at once.

${socketHelp}

example:
  luks-key-server lock nas
`,
  async run(args, world) {
    const { values, positionals } = parseCommandLine('lock', args, socketOption, ['NAME']);
    return decide(world, values, { command: 'lock', name: positionals[0] ?? '' });
  },
};

export const allowCommand: ServerCommand = {
  name: 'allow',
  summary: 'arm a locked machine again',
  help: `usage: luks-key-server allow NAME [--fingerprint FINGERPRINT]

Gives the machine a whole lease and its boots back. A new client key comes from
'luks-key-server invite NAME --rejoin'.

  --fingerprint FINGERPRINT  of the machine's client key, needed once for one that
                             joined again: as it is shown on the machine
${socketHelp}

example:
  luks-key-server allow nas
`,
  async run(args, world) {
    const options = { ...socketOption, fingerprint: { type: 'string' } } as const;
    const { values, positionals } = parseCommandLine('allow', args, options, ['NAME']);
    const { fingerprint } = values;
    const request = { command: 'allow', name: positionals[0] ?? '' } as const;
    return decide(world, values, fingerprint === undefined ? request : { ...request, fingerprint });
  },
};

/** What nobody can destroy from here. */
const COPIES =
  'copies of its keys may be in backups, whose files are to be destroyed, and in copies of the database, until master rotate';

export const revokeCommand: ServerCommand = {
  name: 'revoke',
  summary: 'destroy the keys of a machine, for ever',
  help: `usage: luks-key-server revoke NAME [--yes]

Has the machine's name typed once more, at the terminal. Its exchange keys are
destroyed, and nothing brings them back but a copy: of the database, until
'master rotate' makes it useless, or a file that 'backup' wrote before. Volumes
that need this server open with their other keys alone.

  -y, --yes      do not ask for the name again
${socketHelp}

example:
  luks-key-server revoke nas
`,
  async run(args, world) {
    const options = { ...socketOption, yes: { type: 'boolean', short: 'y', default: false } } as const;
    const { values, positionals } = parseCommandLine('revoke', args, options, ['NAME']);
    const [name = ''] = positionals;
    if (!values.yes) {
      const lines = [`${name}: its keys are destroyed, for ever.`];
      await world.confirmName(lines, name, 'a script says --yes');
    }
    const status = await decide(world, values, { command: 'revoke', name });
    world.say(COPIES);
    return status;
  },
};

export const expectCommand: ServerCommand = {
  name: 'expect',
  summary: 'expect a machine to boot',
  help: `usage: luks-key-server expect NAME --within DURATION [--boots N]

Boots that are not held against the machine: for maintenance, before which it is
switched off, or reboots more often than a lease allows.

  --within DURATION  how long from now
  --boots N          default 1
${socketHelp}

example:
  luks-key-server expect nas --within 2h --boots 3
`,
  async run(args, world) {
    const options = {
      ...socketOption,
      within: { type: 'string' },
      boots: { type: 'string', default: '1' },
    } as const;
    const { values, positionals } = parseCommandLine('expect', args, options, ['NAME']);
    const withinMs = parseDuration(values.within);
    if (withinMs === null || withinMs === 0) {
      throw new AppError(
        'usage',
        `expect: --within: expected a duration with its unit (90s, 15m, 2h), got ${values.within ?? 'nothing'}`,
      );
    }
    if (!/^[1-9]\d?$/.test(values.boots)) {
      throw new AppError('usage', `expect: --boots: expected 1 to 99, got ${values.boots}`);
    }
    const [name = ''] = positionals;
    return decide(world, values, {
      command: 'expect',
      name,
      boots: Number(values.boots),
      'within-ms': withinMs,
    });
  },
};

function answer(name: 'approve' | 'deny', summary: string): ServerCommand {
  return {
    name,
    summary,
    help: `usage: luks-key-server ${name} NAME REQUEST

REQUEST is the id of one request that waits; 'luks-key-server list' shows them.

${socketHelp}

example:
  luks-key-server ${name} nas 5c92a07be41d3f68
`,
    async run(args, world) {
      const { values, positionals } = parseCommandLine(name, args, socketOption, ['NAME', 'REQUEST']);
      const [machine = '', id = ''] = positionals;
      return decide(world, values, { command: name, name: machine, 'request-id': id });
    },
  };
}

export const approveCommand = answer('approve', 'approve one request that waits');
export const denyCommand = answer('deny', 'deny one request that waits');
