import { AppError, asAppError, failureLine } from '../base/errors.ts';
import { version } from '../base/version.ts';
import type { Command } from './command.ts';
import type { World } from './world.ts';

/** Loaded when asked for: `handle` runs at boot and must not pay for the others. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  handle: async () => (await import('./handle.ts')).handleCommand,
  seal: async () => (await import('./seal.ts')).sealCommand,
  open: async () => (await import('./open.ts')).openCommand,
  enroll: async () => (await import('./enroll.ts')).enrollCommand,
  adopt: async () => (await import('./adopt.ts')).adoptCommand,
  rotate: async () => (await import('./rotate.ts')).rotateCommand,
  reseal: async () => (await import('./reseal.ts')).resealCommand,
  unenroll: async () => (await import('./unenroll.ts')).unenrollCommand,
  'recovery-key': async () => (await import('./recovery-key.ts')).recoveryKeyCommand,
  backup: async () => (await import('./backup.ts')).backupCommand,
  credential: async () => (await import('./credential.ts')).credentialCommand,
  journal: async () => (await import('./journal.ts')).journalCommand,
  'import-credential': async () => (await import('./import-credential.ts')).importCredentialCommand,
  request: async () => (await import('./request.ts')).requestCommand,
  join: async () => (await import('./join.ts')).joinCommand,
  leave: async () => (await import('./leave.ts')).leaveCommand,
  site: async () => (await import('./site.ts')).siteCommand,
  keepalive: async () => (await import('./keepalive.ts')).keepaliveCommand,
  'announce-reboot': async () => (await import('./announce-reboot.ts')).announceRebootCommand,
  act: async () => (await import('./act.ts')).actCommand,
  check: async () => (await import('./check.ts')).checkCommand,
  retire: async () => (await import('./retire.ts')).retireCommand,
  predict: async () => (await import('./predict.ts')).predictCommand,
  status: async () => (await import('./status.ts')).statusCommand,
  doctor: async () => (await import('./doctor.ts')).doctorCommand,
};

/** @returns the exit status (`exitStatusOf` in base/errors.ts) */
export async function main(args: readonly string[], world: World): Promise<number> {
  try {
    return await dispatch(args, world);
  } catch (thrown) {
    // A defect elsewhere stops the command: then the defect is what to tell.
    const { reason } = world.signal;
    const error = reason instanceof AppError ? reason : asAppError(thrown);
    world.say(`fetch-luks-key: ${failureLine(error)}`.replaceAll(/\s*\n\s*/g, ' '));
    return error.exitStatus;
  }
}

async function dispatch([name, ...args]: readonly string[], world: World): Promise<number> {
  if (name === '--version' || name === '-V') {
    world.print(`fetch-luks-key ${version}\n`);
    return 0;
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    world.print(await overview());
    return 0;
  }
  const load = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (load === undefined) {
    throw new AppError(
      'usage',
      name === undefined ? 'no command given' : `no command ${JSON.stringify(name)}`,
      { hint: `one of ${Object.keys(commands).join(', ')}; see fetch-luks-key --help` },
    );
  }
  const command = await load();
  const options = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
  if (options.includes('--help') || options.includes('-h')) {
    world.print(command.help);
    return 0;
  }
  return command.run(args, world);
}

async function overview(): Promise<string> {
  const all = await Promise.all(Object.values(commands).map((load) => load()));
  return `usage: fetch-luks-key COMMAND [OPTIONS]

Opens the keys of encrypted volumes for systemd-cryptsetup: with the TPM, with
Tang servers and key servers, with k of n of them, or from a URL.

${all.map(({ name, summary }) => `  ${name.padEnd(17)} ${summary}`).join('\n')}

  --help, --version; COMMAND --help explains a command, with an example

exit status: 0 ok, 1 bug, 2 usage, 3 configuration, 4 refused, 5 unavailable,
6 integrity

example, for the LUKS2 volume that /etc/crypttab calls data:
  fetch-luks-key enroll data
  fetch-luks-key doctor
`;
}
