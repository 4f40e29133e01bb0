import { AppError } from '../../base/errors.ts';
import { socketHelp, socketOption } from './asking.ts';
import { parseCommandLine } from './command-line.ts';
import { decide } from './decide.ts';
import { policyOf, policyOptions } from './policy-options.ts';
import type { ServerCommand } from './world.ts';

export const policyCommand: ServerCommand = {
  name: 'policy',
  summary: 'change the rules for a machine that has joined',
  help: `usage: luks-key-server policy NAME OPTION…

What is not named stays as it is; 'luks-key-server show NAME' has all. A shorter
lease ends sooner from now on, a longer one is given by the next keep-alive. It
arms no machine that is locked.

  --lease DURATION         how long a machine stays armed after its last
                           keep-alive; 0 = for ever
  --boot-grace DURATION    how long after a release the first one may come
  --late-keepalive WHAT    rearm or lock
  --self-expect WHAT       reboot or never
  --approval WHAT          auto or manual
  --from CIDR              where the machine may ask from; repeatable: those that
                           are given take the place of all before
${socketHelp}

example:
  luks-key-server policy nas --lease 30m --from 192.0.2.0/24
`,
  async run(args, world) {
    const options = { ...socketOption, ...policyOptions };
    const { values, positionals } = parseCommandLine('policy', args, options, ['NAME']);
    const policy = policyOf('policy', values);
    if (Object.values(policy).every((value) => value === undefined)) {
      throw new AppError('usage', 'policy: nothing to change', { hint: 'luks-key-server policy --help' });
    }
    return decide(world, values, { command: 'policy', name: positionals[0] ?? '', policy });
  },
};
