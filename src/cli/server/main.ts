import { AppError, asAppError, failureLine } from '../../base/errors.ts';
import { version } from '../../base/version.ts';
import { auditCommand } from './audit.ts';
import { backupCommand } from './backup.ts';
import {
  allowCommand,
  approveCommand,
  denyCommand,
  expectCommand,
  lockCommand,
  revokeCommand,
} from './decide.ts';
import { doctorCommand } from './doctor.ts';
import { identityCommand } from './identity.ts';
import { inviteCommand } from './invite.ts';
import { listCommand, showCommand } from './list.ts';
import { masterCommand } from './master.ts';
import { policyCommand } from './policy.ts';
import { restoreCommand } from './restore.ts';
import { serveCommand } from './serve.ts';
import { undeleteCommand } from './undelete.ts';
import { watchCommand } from './watch.ts';
import type { OperatorWorld, ServerCommand } from './world.ts';

const commands: readonly ServerCommand[] = [
  serveCommand,
  inviteCommand,
  listCommand,
  showCommand,
  lockCommand,
  allowCommand,
  revokeCommand,
  policyCommand,
  undeleteCommand,
  expectCommand,
  approveCommand,
  denyCommand,
  auditCommand,
  watchCommand,
  backupCommand,
  restoreCommand,
  masterCommand,
  identityCommand,
  doctorCommand,
];

/** @returns the exit status (`exitStatusOf` in base/errors.ts) */
export async function main(args: readonly string[], world: OperatorWorld): Promise<number> {
  try {
    return await dispatch(args, world);
  } catch (thrown) {
    const { reason } = world.signal;
    const error = reason instanceof AppError ? reason : asAppError(thrown);
    world.say(`luks-key-server: ${failureLine(error)}`.replaceAll(/\s*\n\s*/g, ' '));
    return error.exitStatus;
  }
}

async function dispatch([name, ...args]: readonly string[], world: OperatorWorld): Promise<number> {
  if (name === '--version' || name === '-V') {
    world.print(`luks-key-server ${version}\n`);
    return 0;
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    world.print(overview());
    return 0;
  }
  const command = commands.find((one) => one.name === name);
  if (command === undefined) {
    throw new AppError(
      'usage',
      name === undefined ? 'no command given' : `no command ${JSON.stringify(name)}`,
      {
        hint: `one of ${commands.map((one) => one.name).join(', ')}; see luks-key-server --help`,
      },
    );
  }
  if (args.includes('--help') || args.includes('-h')) {
    world.print(command.help);
    return 0;
  }
  return command.run(args, world);
}

function overview(): string {
  return `usage: luks-key-server COMMAND [OPTIONS]

Helps machines open their encrypted volumes: only while they keep themselves
alive, and are not locked or revoked. It never learns a key.

${commands.map(({ name, summary }) => `  ${name.padEnd(8)} ${summary}`).join('\n')}

  --help, --version; COMMAND --help explains a command, with an example

exit status: 0 ok, 1 bug, 2 usage, 3 configuration, 4 refused, 5 unavailable,
6 integrity

example:
  luks-key-server invite nas --url https://keys.example:7443
  luks-key-server list
`;
}
