import { AppError } from '../base/errors.ts';
import { refuseTooFew } from '../enroll/site-policy.ts';
import { etcOption, parseCommandLine } from './command.ts';
import { allMachines, ask } from './operator.ts';
import { allowOthers, needFrom } from './site-hosts.ts';
import { leaveIfRemoved } from './site-reshare.ts';
import { keepSite, siteConfig, siteOptions } from './site-settings.ts';
import type { World } from './world.ts';

const options = {
  ...etcOption,
  ...siteOptions,
  need: { type: 'string' },
  yes: { type: 'boolean', short: 'y', default: false },
} as const;

/** First of all it gets nothing more from here: it may have been stolen. May be repeated where it did not end. */
export async function siteRemove(args: readonly string[], world: World): Promise<number> {
  const { values, positionals } = parseCommandLine('site', args, options, ['HOST']);
  const [host = ''] = positionals;
  const { site, servers } = await siteConfig(values.etc, world);
  if (!site.hosts.includes(host) && !servers.has(host)) {
    throw new AppError('usage', `site remove: no host ${JSON.stringify(host)} in ${values.etc}/config.yaml`);
  }
  const hosts = site.hosts.filter((one) => one !== host);
  const need = values.need === undefined ? site.need : needFrom(values.need);
  refuseTooFew(need, hosts.length + 1);
  if (!values.yes) {
    await world.confirm(
      [`${host}: its keys at this host are destroyed, for ever.`],
      `Remove ${host}?`,
      'say --yes if you are sure',
    );
  }
  const known = await allMachines(world.keyServer, values.socket);
  if (known.some(({ name }) => name === host)) {
    await ask<'machine'>(world.keyServer, values.socket, { command: 'revoke', name: host });
  }
  await keepSite({ ...site, hosts, need }, values.etc, world);
  const isLeft = await leaveIfRemoved(host, values.etc, world);
  await allowOthers(hosts, values.socket, world);
  const told = { removed: host, hosts, need, reshare: !isLeft };
  world.print(values.json ? `${JSON.stringify(told)}\n` : `removed ${host}: its keys here are destroyed\n`);
  if (!isLeft) world.say('next, once it is removed at all the others: fetch-luks-key site reshare');
  return 0;
}
