import { AppError } from '../base/errors.ts';
import type { Command } from './command.ts';
import type { World } from './world.ts';

type Action = (args: readonly string[], world: World) => Promise<number>;

const actions: Readonly<Record<string, () => Promise<Action>>> = {
  init: async () => (await import('./site-init.ts')).siteInit,
  add: async () => (await import('./site-add.ts')).siteAdd,
  remove: async () => (await import('./site-remove.ts')).siteRemove,
  reshare: async () => (await import('./site-reshare.ts')).siteReshare,
  status: async () => (await import('./site-status.ts')).siteStatus,
};

export const siteCommand: Command = {
  name: 'site',
  summary: 'hosts that open each other’s volumes, with no other server',
  help: `usage: fetch-luks-key site init NAME --url URL [--need N]
       fetch-luks-key site add HOST... < INVITATIONS > INVITATIONS
       fetch-luks-key site remove HOST [--need N] [--yes]
       fetch-luks-key site reshare [--unlock-key-file FILE]
       fetch-luks-key site status

Each host runs luks-key-server for the others. Its volumes are sealed so that
N hosts have to be up, itself included: a host that is stolen alone opens
nothing, and after a power cut the site comes up by itself. docs/SITE.md

  init       make this machine a host called NAME, whose server the others
             reach at URL
  add        have these hosts and this one join each other: invitations for
             this host are used up, all others go on to the next, as do those
             that its own server gives out
  remove     revoke HOST here, and do without it
  reshare    new keys for the volumes that are sealed over the site, over the
             hosts that there are now
  status     who is up, and whether this host could open its volumes now

  --url URL         https://HOST:PORT of this host's server
  --need N          hosts that have to be up; default 2
  --lease DURATION  how long a host stays armed at this one's server after its
                    last keep-alive; default 0: for ever
  --from CIDR       where the added hosts may ask from; repeatable
  -y, --yes         remove without asking
  --unlock-key-file FILE
                    what opens the volumes, if their sealed keys do not
  --socket PATH     of this host's server; default
                    /run/luks-key-server/operator.sock
  --json            print JSON
  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

example, from a machine that reaches a, b and c as root:
  for host in a b c; do
    ssh $host fetch-luks-key site init $host --url https://$host:7443
  done
  on() { ssh $1 fetch-luks-key site add a b c; }
  on a </dev/null | on b | on c | on a | on b
  for host in a b c; do ssh -t $host fetch-luks-key enroll data --site; done
`,

  async run([name, ...args], world) {
    const load = name !== undefined && Object.hasOwn(actions, name) ? actions[name] : undefined;
    if (load !== undefined) return await (await load())(args, world);
    throw new AppError('usage', `site: expected ${Object.keys(actions).join(', ')}`, {
      hint: 'see fetch-luks-key site --help',
    });
  },
};
