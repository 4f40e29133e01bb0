import { asAppError } from '../../base/errors.ts';
import type { ServerFinding } from '../../wire/operator.ts';
import { ask, socketHelp, socketOption } from './asking.ts';
import { parseCommandLine } from './command-line.ts';
import type { OperatorWorld, ServerCommand } from './world.ts';

export const doctorCommand: ServerCommand = {
  name: 'doctor',
  summary: 'what is wrong with the server, or soon will be',
  help: `usage: luks-key-server doctor

Whether the server runs, its audit log is whole, its disk has room, its
certificate for Tang clients lasts; where its master key lies; what waits for an
operator. Nothing is changed.

${socketHelp}

exit status: 0, or 1 when something is broken

example:
  luks-key-server doctor --json | jq -r '.findings[].code'
`,
  async run(args, world) {
    const { values } = parseCommandLine('doctor', args, socketOption);
    const findings = await findingsOf(world, values.socket);
    if (values.json) world.print(`${JSON.stringify({ findings })}\n`);
    else
      for (const { severity, code, what, fix } of findings) {
        world.print(`${severity}: ${what} [${code}]\n  fix: ${fix}\n`);
      }
    const isBroken = findings.some(({ severity }) => severity === 'broken');
    if (!isBroken) world.say('nothing is broken');
    return isBroken ? 1 : 0;
  },
};

async function findingsOf(world: OperatorWorld, socket: string): Promise<readonly ServerFinding[]> {
  try {
    return (await ask<'doctor'>(world, socket, { command: 'doctor' })).findings;
  } catch (thrown) {
    const { code, message } = asAppError(thrown);
    if (code !== 'unavailable') throw thrown;
    const fix = 'systemctl status luks-key-server; journalctl -u luks-key-server';
    return [{ code: 'not-answering', severity: 'broken', what: message, fix }];
  }
}
