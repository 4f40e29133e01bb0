import { ask, socketHelp, socketOption } from './asking.ts';
import { shown } from './audit.ts';
import { parseCommandLine } from './command-line.ts';
import type { ServerCommand } from './world.ts';

/** The operator's eye is no faster. */
const PAUSE_MS = 1000;

export const watchCommand: ServerCommand = {
  name: 'watch',
  summary: 'what is recorded, as it happens',
  help: `usage: luks-key-server watch

One line for each record of the audit log that is added from now on: who asked
for what, from where, and what came of it. Keep-alives are not records. Ctrl-C
ends it.

${socketHelp}

example:
  luks-key-server watch
`,
  async run(args, world) {
    const { values } = parseCommandLine('watch', args, socketOption);
    const { socket, json } = values;
    let { last } = await ask<'heads'>(world, socket, { command: 'heads', after: 0 });
    while (!world.signal.aborted) {
      const page = await ask<'audit'>(world, socket, { command: 'audit', after: last });
      for (const line of page.lines) world.print(`${json ? line : shown(line)}\n`);
      last = page.last;
      if (page.lines.length === 0) await world.nap(PAUSE_MS).catch(() => {});
    }
    return 0;
  },
};
