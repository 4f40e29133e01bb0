import { backupPassphrase, chosen, passphraseHelp } from '../passphrase.ts';
import { parseCommandLine } from './command-line.ts';
import type { ServerCommand } from './world.ts';

export const restoreCommand: ServerCommand = {
  name: 'restore',
  summary: 'make a server of a backup; every machine starts locked',
  help: `usage: luks-key-server restore FILE [--config FILE] [--state DIR]
                               [--store LOCATION] [--passphrase-file FILE]

On a host where no server has run yet, and none runs now. Every machine starts
locked, until 'luks-key-server allow NAME', as it may have been locked since the
backup; who was revoked by then stays so. Start the server afterwards.

  --config FILE     default /etc/luks-key-server/config.yaml, which may be absent
  --state DIR       default /var/lib/luks-key-server
  --store LOCATION  as for 'serve'
${passphraseHelp}
  --json            print JSON

example:
  luks-key-server restore 2026-11-24T07-30-00.backup
`,
  async run(args, world) {
    const { values, positionals } = parseCommandLine(
      'restore',
      args,
      {
        config: { type: 'string' },
        state: { type: 'string' },
        store: { type: 'string' },
        'passphrase-file': { type: 'string' },
        json: { type: 'boolean', default: false },
      },
      ['FILE'],
    );
    const [path = ''] = positionals;
    const config = await world.serverConfig(values.config ?? null);
    const state = values.state ?? config.state;
    const store = values.store ?? config.store ?? `${state}/keys.db`;
    using passphrase = await chosen(backupPassphrase, values['passphrase-file'], world, { twice: false });
    const machines = await world.restore({ ...config, state, store }, path, passphrase);
    const next = 'all of them locked: start the server, and allow each';
    world.print(values.json ? `${JSON.stringify({ machines })}\n` : `${machines} machines, ${next}\n`);
    return 0;
  },
};
