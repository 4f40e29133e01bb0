import { toBase64url } from '../../base/bytes.ts';
import { backupPassphrase, chosen, passphraseHelp } from '../passphrase.ts';
import { ask, socketHelp, socketOption } from './asking.ts';
import { parseCommandLine } from './command-line.ts';
import type { ServerCommand } from './world.ts';

export const backupCommand: ServerCommand = {
  name: 'backup',
  summary: 'all that the server knows, in one encrypted file',
  help: `usage: luks-key-server backup [--passphrase-file FILE]

The running server writes machines, exchange keys, audit log and its identity
into a new file in its state folder, encrypted to a passphrase, and says which.
Copy it to another place. Its passphrase is all that is needed to restore it, so
whoever has both has every exchange key of that time, revoked ones too. Sealed
by 'fetch-luks-key seal', to whatever pins, it can come from a pipe.

${passphraseHelp}
${socketHelp}

examples:
  luks-key-server backup
  fetch-luks-key open backup.jwe | luks-key-server backup --passphrase-file -
`,
  async run(args, world) {
    const options = { ...socketOption, 'passphrase-file': { type: 'string' } } as const;
    const { values } = parseCommandLine('backup', args, options);
    using passphrase = await chosen(backupPassphrase, values['passphrase-file'], world, { twice: true });
    const request = { command: 'backup', passphrase: toBase64url(passphrase.reveal()) } as const;
    const { path } = await ask<'backup'>(world, values.socket, request);
    world.print(values.json ? `${JSON.stringify({ path })}\n` : `${path}\n`);
    return 0;
  },
};
