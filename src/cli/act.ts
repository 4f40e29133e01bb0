import { AppError, asAppError, failureLine } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Action } from '../config/action.ts';
import { loadConfig } from '../config/load.ts';
import { actScript, DONE_BEFORE, type Step } from '../keepalive/act-script.ts';
import { parseCrypttab } from '../luks/crypttab.ts';
import { type Command, parseCommandLine, placeOptions } from './command.ts';
import type { World } from './world.ts';

const CRYPTSETUP = '/usr/sbin/cryptsetup';
const SYSTEMCTL = '/usr/bin/systemctl';

export const actCommand: Command = {
  name: 'act',
  summary: 'do what on-locked: or on-revoked: says; started by systemd',
  help: `usage: fetch-luks-key act locked|revoked [--script] [--etc DIR]
       [--crypttab FILE]

Does what config.yaml says, in its order, and goes on after a failure: suspend
and close are for every open volume whose key came from one of our sockets.

  --script          print a script of sh(1) that does it, and sooner; it runs
                    this command instead when FILE or config.yaml is newer
  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

example, to see what would happen:
  fetch-luks-key act revoked --script
`,

  async run(args, world) {
    const options = { ...placeOptions, script: { type: 'boolean' } } as const;
    const { values, positionals } = parseCommandLine('act', args, options, ['locked or revoked']);
    const [verdict = ''] = positionals;
    if (verdict !== 'locked' && verdict !== 'revoked') {
      throw new AppError('usage', `act: expected locked or revoked, got ${JSON.stringify(verdict)}`);
    }
    const { onLocked, onRevoked } = await loadConfig(world.files, values.etc);
    const volumes = await ourVolumes(values.crypttab, world);
    const steps = (verdict === 'locked' ? onLocked : onRevoked).flatMap((one) => stepsFor(one, volumes));
    if (values.script) {
      const { etc, crypttab } = values;
      const instead = ['/usr/bin/fetch-luks-key', 'act', verdict, '--etc', etc, '--crypttab', crypttab];
      world.print(actScript(steps, [`${etc}/config.yaml`, crypttab], instead));
      return 0;
    }
    let status = 0;
    for (const { argv, volume } of steps) {
      const isThere = volume === undefined || (await world.files.mode(`/dev/mapper/${volume}`)) !== null;
      if (isThere && !(await done(argv, world))) status = 5;
    }
    return status;
  },
};

function stepsFor(action: Action, volumes: readonly string[]): Step[] {
  if (action === 'poweroff') return [{ argv: [SYSTEMCTL, 'poweroff', '--no-block'] }];
  if (typeof action !== 'string') return [{ argv: action.run }];
  const verb = action === 'suspend' ? ['luksSuspend'] : ['close', '--deferred'];
  return volumes.map((volume) => ({ argv: [CRYPTSETUP, ...verb, volume], volume }));
}

async function ourVolumes(crypttab: string, world: World): Promise<string[]> {
  const text = (await world.files.read(crypttab, limits.configBytes))?.toString() ?? '';
  return parseCrypttab(text).entries.flatMap(({ volume, keyFile }) =>
    keyFile?.startsWith('/run/fetch-luks-key/') ? [volume] : [],
  );
}

async function done([program = '', ...rest]: readonly string[], world: World): Promise<boolean> {
  const title = [program, ...rest].join(' ');
  try {
    const { status, stderr } = await world.runner.run(program, rest, {
      timeoutMs: limits.actionTimeoutMs,
      maxOutputBytes: limits.childOutputBytes,
      signal: world.signal,
    });
    const isDoneBefore = stderr.trim().endsWith(DONE_BEFORE);
    if (status === 0) world.journal.info(`${title}: done`);
    else if (isDoneBefore) world.journal.info(`${title}: done before`);
    else world.journal.error(`${title}: exit status ${status}: ${stderr.trim().split('\n').at(-1)}`);
    return status === 0 || isDoneBefore;
  } catch (thrown) {
    world.journal.error(`${title}: ${failureLine(asAppError(thrown))}`);
    return false;
  }
}
