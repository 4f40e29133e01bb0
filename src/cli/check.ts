import { AppError, exitStatusOf } from '../base/errors.ts';
import { check } from './checking.ts';
import { type Command, parseCommandLine, placeOptions } from './command.ts';
import type { Finding } from './findings.ts';

export const checkCommand: Command = {
  name: 'check',
  summary: 'look for what is wrong, before the next boot does',
  help: `usage: fetch-luks-key check [--etc DIR] [--crypttab FILE] [--json]

Reads config.yaml, every sealed key in DIR/volumes, DIR/credentials and
DIR/credentials.encrypted, the commitments, and the lines of crypttab that name
a socket in /run/fetch-luks-key, with the LUKS headers of their devices, and
prints everything that is wrong, one line each. Nothing is opened, and no server
is asked.

  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab
  --json            print {"findings": [{"level", "code", "where", "message",
                    "hint"}, ...]}

exit status: 0 no errors, else that of the worst: 3 configuration, 4 refused,
6 integrity

example:
  fetch-luks-key check && reboot
`,

  async run(args, world) {
    const options = { ...placeOptions, json: { type: 'boolean' } } as const;
    const { values } = parseCommandLine('check', args, options);
    for (const option of ['etc', 'crypttab'] as const) {
      const path = values[option];
      // The default may be absent, what was named by hand is a slip.
      if (path === placeOptions[option].default || (await world.files.mode(path)) !== null) continue;
      throw new AppError('usage', `check: --${option}: ${path}: no such file or folder`);
    }
    const findings = await check(world.files, values.etc, values.crypttab);
    if (values.json) world.print(`${JSON.stringify({ findings })}\n`);
    else for (const finding of findings) world.print(`${lineOf(finding)}\n`);
    const errors = findings.filter(({ level }) => level === 'error');
    const warnings = findings.length - errors.length;
    if (!values.json) world.say(`${counted(errors.length, 'error')}, ${counted(warnings, 'warning')}`);
    return Math.max(0, ...errors.map(({ code }) => exitStatusOf[code]));
  },
};

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function lineOf({ level, where, message, hint }: Finding): string {
  return `${level}: ${where}: ${message}${hint === null ? '' : ` (hint: ${hint})`}`.replaceAll(
    /\s*\n\s*/g,
    ' ',
  );
}
