import { handle } from '../handler/handle.ts';
import { type Command, parseCommandLine, placeOptions, placesFrom } from './command.ts';

export const handleCommand: Command = {
  name: 'handle',
  summary: 'answer one connection; started by systemd',
  help: `usage: fetch-luks-key handle [--all] [--etc DIR] [--crypttab FILE]

Answers the one connection that systemd passes (Accept=yes): learns from the
client's address which volume is asked for, opens its key, writes it, exits.
What happened is one line on standard error, for the journal. A connection that
is standard input (StandardInput=socket) is asked for credentials of services,
and one that is not for keys of volumes.

  --all             the listening socket was passed (Accept=no): answers every
                    connection, and ends when nobody has asked for 30 s. Serves
                    encrypted credentials alone, as nobody answers for a process
                    that dies.
  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

example, without systemd as PID 1:
  systemd-socket-activate --accept -l /run/test.sock fetch-luks-key handle &
  fetch-luks-key request data --socket /run/test.sock
`,

  async run(args, world) {
    const options = { ...placeOptions, all: { type: 'boolean' } } as const;
    const places = () => placesFrom(parseCommandLine('handle', args, options).values);
    const atBoot = { ...world, pinOf: world.pinOfAgents };
    if (!args.includes('--all')) return handle(world.takeConnection(), places, atBoot, world.signal);
    // Before a client waits.
    const known = places();
    await world.serveAll((connection) => handle(connection, () => known, atBoot, world.signal));
    return 0;
  },
};
