import { AppError } from '../base/errors.ts';
import { volumeName } from '../base/names.ts';
import { type Config, emptyConfig } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { parseOrigin } from '../config/server.ts';
import type { SiteSettings } from '../config/site.ts';
import { opensByItself, serverVolume } from '../doctor/site.ts';
import { findInCrypttab } from '../luks/crypttab.ts';
import { volumeFacts } from '../status/volume.ts';
import { parseCommandLine, placeOptions, placesFrom } from './command.ts';
import { ask } from './operator.ts';
import { hostName, needFrom } from './site-hosts.ts';
import { keepSite, siteOptions } from './site-settings.ts';
import type { World } from './world.ts';

const options = {
  ...placeOptions,
  ...siteOptions,
  url: { type: 'string' },
  need: { type: 'string', default: '2' },
} as const;

export async function siteInit(args: readonly string[], world: World): Promise<number> {
  const { values, positionals } = parseCommandLine('site', args, options, ['NAME']);
  const host = hostName(positionals[0] ?? '');
  const need = needFrom(values.need);
  const url = parseOrigin(values.url);
  if (url === null) {
    const got = JSON.stringify(values.url ?? '');
    throw new AppError('usage', `site init: --url: expected https://HOST:PORT, got ${got}`, {
      hint: "where the other hosts reach this one's key server",
    });
  }
  refuseSecond(await loadConfig(world.files, values.etc), values.etc);
  await refuseBehindVolume(values, world);
  const { key } = await ask<'identity'>(world.keyServer, values.socket, { command: 'identity' });
  const site: SiteSettings = { host, url, need, hosts: [], allowLocalUnseal: false };
  await keepSite(site, values.etc, world);
  const told = { host, url: url.origin, need, server: key };
  const text = `${host}, ${need} hosts have to be up\n  server  ${url.origin}, ${key}\n`;
  world.print(values.json ? `${JSON.stringify(told)}\n` : text);
  return 0;
}

function refuseSecond({ site }: Config, etc: string): void {
  if (site === null) return;
  throw new AppError('usage', `site init: this machine is a host of a site already, called ${site.host}`, {
    hint: `it is the section site: of ${etc}/config.yaml`,
  });
}

/** @throws AppError `refused` when the server could not start before the volumes that it is to help open */
async function refuseBehindVolume(
  values: { readonly etc: string; readonly crypttab: string },
  { files }: World,
): Promise<void> {
  const volume = await serverVolume(files, '/etc/fstab');
  const entry = volume === null ? null : await findInCrypttab(files, values.crypttab, volumeName(volume));
  if (volume === null || entry === null) return;
  if (opensByItself(await volumeFacts(entry, volumeName(volume), emptyConfig, placesFrom(values), files)))
    return;
  throw new AppError(
    'refused',
    `site init: luks-key-server keeps its keys on the encrypted volume ${volume}`,
    {
      hint: 'after a power cut each host would wait for the others: state: in /etc/luks-key-server/config.yaml, elsewhere',
    },
  );
}
