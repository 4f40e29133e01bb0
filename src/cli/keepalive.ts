import { AppError } from '../base/errors.ts';
import { loadConfig } from '../config/load.ts';
import { serverKeysPath } from '../config/server-keys.ts';
import { HeadWitness, headsFolder } from '../keepalive/head-witness.ts';
import { ServerKeepalive } from '../keepalive/keep-alive.ts';
import { KeyFollower } from '../keepalive/key-follower.ts';
import { type Command, etcOption, parseCommandLine } from './command.ts';
import type { World } from './world.ts';

export const keepaliveCommand: Command = {
  name: 'keepalive',
  summary: 'keep this machine alive at its servers; started by systemd',
  help: `usage: fetch-luks-key keepalive [--etc DIR]

Tells every server that config.yaml names that this machine lives, with the
proof that it has opened a key of theirs, and watches for being locked or
revoked. Then it has 'on-locked:' or 'on-revoked:' done. An outage of the line
is neither. It looks each hour whether this machine's keys are protected as
'protect-with-tpm:' wants, and still open; what it finds it tells, in the
journal and where 'require' is set to the servers. Where their audit logs end it keeps in DIR/audit-heads, and tells
in the journal when one is not what it was; their next keys in DIR/server-keys.

  --etc DIR   default /etc/fetch-luks-key

example:
  systemctl enable --now fetch-luks-key-keepalive.service
`,

  async run(args, world) {
    const { values } = parseCommandLine('keepalive', args, etcOption);
    const { servers, onLocked, onRevoked, protect } = await loadConfig(world.files, values.etc);
    if (servers.size === 0) {
      throw new AppError('bad-config', `${values.etc}/config.yaml: no servers`, {
        hint: 'join one: fetch-luks-key join',
      });
    }
    const common = {
      actions: { locked: onLocked, revoked: onRevoked },
      protect: protect.mode,
      world: world.keepalive,
      signal: world.signal,
    };
    const all = [...servers].map(([name, settings]) => {
      const witness = new HeadWitness(name, headsFolder(values.etc), world.keepalive);
      const path = serverKeysPath(values.etc, settings.pinSha256);
      const follower = new KeyFollower(name, settings, path, world.keepalive);
      return new ServerKeepalive({ name, settings, witness, follower, ...common });
    });
    world.keepalive.ready();
    const over = new AbortController();
    const kept = Promise.all(all.map((one) => one.run())).finally(() => over.abort());
    await Promise.all([kept, stayWell(world, AbortSignal.any([world.signal, over.signal]))]);
    return 0;
  },
};

/** Whether the event loop turns is what the watchdog watches; a network that is away is no fault. */
async function stayWell({ keepalive, clock }: World, signal: AbortSignal): Promise<void> {
  const { watchdogMs } = keepalive;
  while (watchdogMs !== null && !signal.aborted) {
    keepalive.alive();
    await clock.sleep(watchdogMs / 2, signal).catch(() => {});
  }
}
