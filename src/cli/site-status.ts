import { followsSite, serversIn } from '../enroll/site-policy.ts';
import { type ServerStatus, serverStatus } from '../status/server.ts';
import type { MachineView } from '../wire/operator.ts';
import { etcOption, parseCommandLine } from './command.ts';
import { allMachines } from './operator.ts';
import { allEnrolled, type SiteConfig, siteConfig, siteOptions } from './site-settings.ts';
import type { World } from './world.ts';

/** Another host, seen from both sides. */
interface Sibling {
  readonly host: string;
  readonly url: string;
  /** What its server says of this host; null: why not is in `fault`. */
  readonly state: ServerStatus['state'];
  readonly fault: string | null;
  /** What this host's own server says of it; null: it has not joined. */
  readonly here: MachineView['status'] | null;
}

interface VolumeShares {
  readonly volume: string;
  /** Over which hosts it is sealed. */
  readonly over: readonly string[];
  /** These are the hosts that there are now, and as many are needed. */
  readonly current: boolean;
}

export async function siteStatus(args: readonly string[], world: World): Promise<number> {
  const options = { ...etcOption, ...siteOptions };
  const { values } = parseCommandLine('site', args, options);
  const config = await siteConfig(values.etc, world);
  const siblings = await siblingsOf(config, values.socket, world);
  const volumes = await sharesOf(config, values.etc, world);
  const { host, need, allowLocalUnseal } = config.site;
  const up = 1 + siblings.filter(({ state }) => state === 'armed').length;
  const told = {
    host,
    need,
    up,
    opens: up >= need,
    'allow-local-unseal': allowLocalUnseal,
    siblings,
    volumes,
  };
  world.print(values.json ? `${JSON.stringify(told)}\n` : asText(told));
  return 0;
}

async function siblingsOf({ site, servers }: SiteConfig, socket: string, world: World): Promise<Sibling[]> {
  const machines = await allMachines(world.keyServer, socket);
  const siblings = site.hosts.map(async (host) => {
    const settings = servers.get(host);
    if (settings === undefined) throw new Error(`${host} is in the site and not under servers`);
    const { url, state, fault } = await serverStatus(host, settings, [], world, world.signal);
    const here = machines.find(({ name }) => name === host)?.status ?? null;
    return { host, url, state, fault: fault?.message ?? null, here };
  });
  return await Promise.all(siblings);
}

async function sharesOf(config: SiteConfig, etc: string, world: World): Promise<VolumeShares[]> {
  const enrolled = (await allEnrolled(etc, world)).filter(({ policy }) => policy.bySite);
  return enrolled.map(({ volume, policy }) => ({
    volume,
    over: serversIn(policy.config),
    current: followsSite(policy, config),
  }));
}

function asText(status: {
  readonly host: string;
  readonly need: number;
  readonly up: number;
  readonly siblings: readonly Sibling[];
  readonly volumes: readonly VolumeShares[];
}): string {
  const { host, need, up, siblings, volumes } = status;
  const verdict = up >= need ? 'it opens its volumes' : 'it does not open its volumes';
  const lines = [
    `${host}: ${up} of ${siblings.length + 1} hosts are up, and ${need} have to be: ${verdict}`,
    ...siblings.map(({ host: one, url, state, fault, here }) => {
      const there = state ?? fault ?? 'no answer';
      return `  ${one.padEnd(12)}  ${url}  this host there: ${there}; it here: ${here ?? 'not joined'}`;
    }),
    ...volumes.map(({ volume, over, current }) => {
      const what = `sealed over ${over.join(', ')}`;
      return `  ${volume.padEnd(12)}  ${what}${current ? '' : '; the site has changed: fetch-luks-key site reshare'}`;
    }),
  ];
  return `${lines.join('\n')}\n`;
}
