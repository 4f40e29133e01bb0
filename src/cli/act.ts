import { AppError, asAppError, failureLine } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Action } from '../config/action.ts';
import { loadConfig } from '../config/load.ts';
import { parseCrypttab } from '../luks/crypttab.ts';
import { type Command, parseCommandLine, placeOptions } from './command.ts';
import type { World } from './world.ts';

const CRYPTSETUP = '/usr/sbin/cryptsetup';
const SYSTEMCTL = '/usr/bin/systemctl';

export const actCommand: Command = {
  name: 'act',
  summary: 'do what on-locked: or on-revoked: says; started by systemd',
  help: `usage: fetch-luks-key act locked|revoked [--etc DIR] [--crypttab FILE]

Does what config.yaml says, in its order, and goes on after a failure: suspend
and close are for every open volume whose key came from one of our sockets.

  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

example, to try what would happen:
  fetch-luks-key act locked
`,

  async run(args, world) {
    const { values, positionals } = parseCommandLine('act', args, placeOptions, ['locked or revoked']);
    const [verdict = ''] = positionals;
    if (verdict !== 'locked' && verdict !== 'revoked') {
      throw new AppError('usage', `act: expected locked or revoked, got ${JSON.stringify(verdict)}`);
    }
    const { onLocked, onRevoked } = await loadConfig(world.files, values.etc);
    let status = 0;
    for (const action of verdict === 'locked' ? onLocked : onRevoked) {
      for (const argv of await commandsFor(action, values.crypttab, world)) {
        status = (await done(argv, world)) ? status : 5;
      }
    }
    return status;
  },
};

async function commandsFor(
  action: Action,
  crypttab: string,
  world: World,
): Promise<readonly (readonly string[])[]> {
  if (action === 'poweroff') return [[SYSTEMCTL, 'poweroff', '--no-block']];
  if (typeof action !== 'string') return [action.run];
  const volumes = await openVolumes(crypttab, world);
  const verb = action === 'suspend' ? ['luksSuspend'] : ['close', '--deferred'];
  return volumes.map((volume) => [CRYPTSETUP, ...verb, volume]);
}

/** Ours, and open now. */
async function openVolumes(crypttab: string, world: World): Promise<string[]> {
  const text = (await world.files.read(crypttab, limits.configBytes))?.toString() ?? '';
  const ours = parseCrypttab(text).entries.filter(({ keyFile }) =>
    keyFile?.startsWith('/run/fetch-luks-key/'),
  );
  const open: string[] = [];
  for (const { volume } of ours) {
    if ((await world.files.mode(`/dev/mapper/${volume}`)) !== null) open.push(volume);
  }
  return open;
}

async function done([program = '', ...rest]: readonly string[], world: World): Promise<boolean> {
  const title = [program, ...rest].join(' ');
  try {
    const { status, stderr } = await world.runner.run(program, rest, {
      timeoutMs: limits.actionTimeoutMs,
      maxOutputBytes: limits.childOutputBytes,
      signal: world.signal,
    });
    if (status === 0) world.journal.info(`${title}: done`);
    else world.journal.error(`${title}: exit status ${status}: ${stderr.trim().split('\n').at(-1)}`);
    return status === 0;
  } catch (thrown) {
    world.journal.error(`${title}: ${failureLine(asAppError(thrown))}`);
    return false;
  }
}
