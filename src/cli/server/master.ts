import { AppError } from '../../base/errors.ts';
import { ask, socketHelp, socketOption } from './asking.ts';
import { parseCommandLine } from './command-line.ts';
import type { ServerCommand } from './world.ts';

export const masterCommand: ServerCommand = {
  name: 'master',
  summary: 'another master key for all that the store holds',
  help: `usage: luks-key-server master rotate

Seals every row under a new master key, while the server goes on. Copies of the
database that were made before open no more once the old key is destroyed; what
'backup' wrote needs no master key, and stays as it is.

A key that the server made itself is replaced by a new one. One that comes as a
credential, or that servers on one PostgreSQL share, needs the next beside it,
'master-key-next' (32 bytes in base64url), on every server, which is restarted;
once it is done, make that one the 'master-key', where the server has not done
so itself. What was cut off is taken up again.

${socketHelp}

example:
  luks-key-server master rotate
`,
  async run(args, world) {
    const { values, positionals } = parseCommandLine('master', args, socketOption, ['rotate']);
    const [what = ''] = positionals;
    if (what !== 'rotate')
      throw new AppError('usage', `master: expected rotate, got ${JSON.stringify(what)}`);
    const { version } = await ask<'rotate-master'>(world, values.socket, { command: 'rotate-master' });
    world.print(values.json ? `${JSON.stringify({ version })}\n` : `version ${version} of the master key\n`);
    return 0;
  },
};
