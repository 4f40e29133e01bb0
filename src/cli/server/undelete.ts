import { socketHelp, socketOption } from './asking.ts';
import { parseCommandLine } from './command-line.ts';
import { decide } from './decide.ts';
import type { ServerCommand } from './world.ts';

export const undeleteCommand: ServerCommand = {
  name: 'undelete',
  summary: 'bring back an exchange key that a machine has deleted',
  help: `usage: luks-key-server undelete NAME KEY

A key that a machine deletes, as 'fetch-luks-key unenroll' does, is destroyed
after 7 days; until then it comes back, and opens what was sealed with it.
'luks-key-server show NAME' lists those that can.

${socketHelp}

example:
  luks-key-server undelete nas w6yfSVCDkOXHGGsN0GyErlw2BzrAGyY3OgQmTGWm1y0
`,
  async run(args, world) {
    const { values, positionals } = parseCommandLine('undelete', args, socketOption, ['NAME', 'KEY']);
    const [name = '', kid = ''] = positionals;
    return decide(world, values, { command: 'undelete', name, kid });
  },
};
