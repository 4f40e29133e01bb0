import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import type { Config } from '../config/config.ts';
import { defaultKeyServerConfig, loadKeyServerConfig } from '../config/key-server.ts';
import { leavesOf, opensWith } from '../status/policy.ts';
import type { VolumeFacts } from '../status/volume.ts';
import type { Facts, SiteFacts } from './facts.ts';
import { type Finding, finding } from './finding.ts';
import { volumeUnder } from './fstab.ts';

const SERVER_CONFIG = '/etc/luks-key-server/config.yaml';

/** proc_pid_mountinfo(5) */
const MOUNTED = '/proc/self/mountinfo';

/**
 * The volume that this host's own key server keeps its keys on, by fstab(5) or as it is mounted now.
 * @returns null: on none @throws AppError `bad-config`
 */
export async function serverVolume(files: Files, fstab: string): Promise<string | null> {
  const { state } = (await loadKeyServerConfig(files, SERVER_CONFIG)) ?? defaultKeyServerConfig;
  const text = async (path: string) => (await files.read(path, limits.configBytes))?.toString() ?? '';
  // `ID PARENT MAJOR:MINOR ROOT PATH OPTIONS [FIELD...] - TYPE SOURCE OPTIONS` as fstab has it: SOURCE PATH.
  const mounted = (await text(MOUNTED)).replaceAll(/^(?:\S+ ){4}(\S+) .*? - \S+ (\S+) .*$/gm, '$2 $1');
  return volumeUnder(await text(fstab), state) ?? volumeUnder(mounted, state);
}

/** Whether this machine opens it without asking anybody: then it may hold what other hosts need. */
export function opensByItself({ entry, used }: Pick<VolumeFacts, 'entry' | 'used'>): boolean {
  if (entry.options.some((option) => option.startsWith('tpm2-device='))) return true;
  return used.some(({ policy }) => policy !== null && opensWith(policy, ({ pin }) => pin === 'tpm2'));
}

/** @returns null: this machine is no host of a site @throws AppError `bad-config` */
export async function siteFacts(
  { site, servers }: Config,
  volumes: readonly VolumeFacts[],
  fstab: string,
  files: Files,
): Promise<SiteFacts | null> {
  if (site === null) return null;
  const pins = site.hosts.flatMap((host) => servers.get(host)?.keys.names ?? []);
  const bySite = volumes.filter(
    (one) =>
      !opensByItself(one) &&
      one.used.some(
        ({ policy }) =>
          policy !== null &&
          leavesOf(policy).some(
            (leaf) => leaf.pin === 'remote' && pins.some((pin) => pin.equals(leaf.server)),
          ),
      ),
  );
  return { volumes: bySite.map(({ entry }) => entry), serverVolume: await serverVolume(files, fstab) };
}

/** When all hosts start at once, each waits for the others' servers: these must not wait for the volumes. */
export function checkSite({ site }: Facts): Finding[] {
  return (site?.volumes ?? []).flatMap(({ volume, options }) => {
    if (volume === site?.serverVolume) {
      const what =
        'this host’s key server keeps its keys on it, so that the other hosts wait for it and it for them: after a power cut none comes up';
      return [
        finding(
          'server-behind-volume',
          volume,
          what,
          'state: in /etc/luks-key-server/config.yaml, on another file system',
        ),
      ];
    }
    if (options.includes('_netdev')) return [];
    const what =
      'key servers start once it is open, as it has no _netdev, and its key comes from those of other hosts: after a power cut none comes up';
    return [
      finding('server-behind-volume', volume, what, `add _netdev to the options of ${volume} in crypttab`),
    ];
  });
}
