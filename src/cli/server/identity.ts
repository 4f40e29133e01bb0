import { AppError } from '../../base/errors.ts';
import type { IdentityView } from '../../wire/operator.ts';
import { ask, socketHelp, socketOption } from './asking.ts';
import { parseCommandLine } from './command-line.ts';
import type { OperatorWorld, ServerCommand } from './world.ts';

const PAUSE_MS = 5_000;

export const identityCommand: ServerCommand = {
  name: 'identity',
  summary: 'the server’s own key; another one for it',
  help: `usage: luks-key-server identity show|rotate [--now]

  show     the key that machines know the server by, and the next one
  rotate   makes another key, tells every machine of it in its keep-alives, waits
           until all of them know it, and goes over to it. Cut off, it goes on
           when it is started again: until then both keys are good

  --now    for rotate: does not wait. A machine that has not heard of the next key
           finds no server any more; it leaves, and joins again with an invitation
           of 'invite NAME --rejoin', and its sealed keys open as before
${socketHelp}

Invitations that were not used yet name the old key: invite again. Make a backup
afterwards, as one from before restores a key that machines take no more. A key
that config.yaml names is not replaced: put the next one beside it, as FILE.next,
on every server, restart them, rotate, and put it in its place.

example:
  luks-key-server identity rotate
`,
  async run(args, world) {
    const options = { ...socketOption, now: { type: 'boolean', default: false } } as const;
    const { values, positionals } = parseCommandLine('identity', args, options, ['show or rotate']);
    const [what = ''] = positionals;
    if (what !== 'show' && what !== 'rotate') {
      throw new AppError('usage', `identity: expected show or rotate, got ${JSON.stringify(what)}`);
    }
    const view =
      what === 'show'
        ? await ask<'identity'>(world, values.socket, { command: 'identity' })
        : await rotate(world, values.socket, values.now);
    world.print(values.json ? `${JSON.stringify(view)}\n` : shown(view));
    return 0;
  },
};

async function rotate(world: OperatorWorld, socket: string, now: boolean): Promise<IdentityView> {
  for (let told = ''; ; await world.nap(PAUSE_MS)) {
    const view = await ask<'identity'>(world, socket, { command: 'rotate-identity', now });
    if (view.next === null) return view;
    const line = `waiting for ${unaware(view)}`;
    if (line !== told) world.say(line);
    told = line;
  }
}

function shown(view: IdentityView): string {
  const { key, next } = view;
  if (next === null) return `key   ${key}\n`;
  return `key   ${key}\nnext  ${next}, ${view.unaware === 0 ? 'known to every machine' : `not known to ${unaware(view)}`}\n`;
}

function unaware({ unaware: count, names }: IdentityView): string {
  const others = count - names.length;
  return `${names.join(', ')}${others > 0 ? ` and ${others} more` : ''}`;
}
