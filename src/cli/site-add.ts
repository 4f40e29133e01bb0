import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { parseDuration } from '../config/quantity.ts';
import { isNamed } from '../config/server-keys.ts';
import { refuseTooFew } from '../enroll/site-policy.ts';
import { absolute, etcOption, parseCommandLine } from './command.ts';
import { type Invitation, invitationLine, parseInvitation } from './invitation.ts';
import { join } from './join.ts';
import { keepaliveAnew } from './keepalive-anew.ts';
import { allMachines, ask } from './operator.ts';
import { allowOthers, hostName } from './site-hosts.ts';
import { keepSite, type SiteConfig, siteConfig, siteOptions } from './site-settings.ts';
import type { World } from './world.ts';

const options = {
  ...etcOption,
  ...siteOptions,
  lease: { type: 'string', default: '0' },
  from: { type: 'string', multiple: true },
} as const;

type Values = ReturnType<typeof parseCommandLine<typeof options>>['values'];

/** A line of what goes round: an invitation by one host for another. */
type Line = Invitation & { readonly text: string; readonly host: string };

export async function siteAdd(args: readonly string[], world: World): Promise<number> {
  const all = args.filter((word) => !word.startsWith('-')).map(() => '[HOST]');
  const { values, positionals } = parseCommandLine('site', args, options, all);
  const policy = { 'lease-ms': leaseMs(values.lease), 'allowed-from': values.from };
  const config = await siteConfig(values.etc, world);
  const hosts = othersIn(positionals, config);
  using bundle = await world.readStandardInput(limits.siteBundleBytes);
  const lines = parseLines(bundle.reveal().toString('latin1'));
  const own = await ask<'identity'>(world.keyServer, values.socket, { command: 'identity' });
  const ours = invitationsFor(config, hosts, own.key, lines);
  const joined = await joinAll(ours, values, world);
  const rest = lines.filter(({ name }) => name !== config.site.host);
  const invited = await invite(hosts, rest, policy, values, world);
  const { site } = await siteConfig(values.etc, world);
  const missing = hosts.filter((host) => !site.hosts.includes(host));
  const texts = [...rest.map(({ text }) => text), ...invited];
  const told = { host: site.host, joined, 'not-joined': missing, invitations: texts };
  world.print(values.json ? `${JSON.stringify(told)}\n` : texts.map((text) => `${text}\n`).join(''));
  const have = joined.length === 0 ? 'joined none' : `joined ${joined.join(', ')}`;
  world.say(`${site.host}: ${have}${missing.length === 0 ? '' : `; still to come: ${missing.join(', ')}`}`);
  await allowOthers(site.hosts, values.socket, world);
  return 0;
}

/** @throws AppError `usage` */
function leaseMs(text: string): number {
  const ms = parseDuration(text);
  if (ms !== null) return ms;
  throw new AppError(
    'usage',
    `site add: --lease: expected a duration with its unit (15m, 7d), or 0, got ${text}`,
  );
}

/** The hosts that are named, without this one. @throws AppError `usage` for one that is named twice; `bad-config` */
function othersIn(names: readonly string[], { site }: SiteConfig): string[] {
  const twice = names.find((name, index) => names.indexOf(hostName(name)) !== index);
  if (twice !== undefined)
    throw new AppError('usage', `site add: expected each host once, got ${twice} again`);
  const others = names.filter((name) => name !== site.host);
  if (others.length === 0) throw new AppError('usage', 'site add: expected the names of other hosts');
  refuseTooFew(site.need, new Set([site.host, ...site.hosts, ...others]).size);
  return others;
}

/** @throws AppError `usage` */
function parseLines(text: string): Line[] {
  return text.split('\n').flatMap((one, index) => {
    if (one.trim() === '') return [];
    const invitation = parseInvitation(one);
    const host = invitation?.host ?? null;
    if (invitation !== null && host !== null) return [{ ...invitation, host, text: one.trim() }];
    throw new AppError(
      'usage',
      `site add: standard input, line ${index + 1}: expected an invitation by a host`,
      {
        hint: 'it is what site add prints on the host before',
      },
    );
  });
}

/**
 * Those for this host, of hosts that it has not joined. A host is known by its server's key: whoever comes under two
 * names, or under that of another, would count twice.
 * @param ownKey of this host's own server, `sha256/BASE64URL`
 * @throws AppError `refused`
 */
function invitationsFor(
  { site, servers }: SiteConfig,
  hosts: readonly string[],
  ownKey: string,
  lines: readonly Line[],
): Line[] {
  const refused = (what: string) =>
    new AppError('refused', `site add: ${what}`, {
      hint: 'each host is known by the key of its own luks-key-server',
    });
  const ours: Line[] = [];
  for (const line of lines.filter(({ name }) => name === site.host)) {
    const { host, pinSha256 } = line;
    if (!hosts.includes(host))
      throw refused(`an invitation by ${host}, which is none of ${hosts.join(', ')}`);
    if (ours.some((one) => one.host === host)) throw refused(`two invitations by ${host}`);
    const same =
      ours.find((one) => one.pinSha256.equals(pinSha256))?.host ??
      [...servers].find(([name, { keys }]) => name !== host && isNamed(keys, pinSha256))?.[0];
    if (same !== undefined) throw refused(`${host} has the key of ${same}`);
    if (ownKey === `sha256/${pinSha256.toString('base64url')}`) {
      throw refused(`${host} has the key of this host, ${site.host}`);
    }
    const known = servers.get(host);
    if (known !== undefined && !isNamed(known.keys, pinSha256)) {
      throw refused(`${host} has another key than the ${host} that this host has joined`);
    }
    if (!site.hosts.includes(host)) ours.push(line);
  }
  return ours;
}

/** @returns the names of those that this host has joined now */
async function joinAll(lines: readonly Line[], values: Values, world: World): Promise<string[]> {
  const etc = absolute(values.etc) ?? values.etc;
  for (const line of lines) {
    const { servers, protect } = await siteConfig(etc, world);
    if (!servers.has(line.host)) await join(line, line.host, etc, protect, world);
    const { site } = await siteConfig(etc, world);
    await keepSite({ ...site, hosts: [...site.hosts, line.host] }, etc, world);
  }
  if (lines.length > 0) await keepaliveAnew(etc, world);
  return lines.map(({ host }) => host);
}

/** Of those that do not know this host's server yet, and for whom no invitation is on its way. @returns lines */
async function invite(
  hosts: readonly string[],
  underWay: readonly Line[],
  policy: { readonly 'lease-ms': number; readonly 'allowed-from': string[] | undefined },
  { etc, socket }: Values,
  world: World,
): Promise<string[]> {
  const { site } = await siteConfig(etc, world);
  const known = new Map((await allMachines(world.keyServer, socket)).map((one) => [one.name, one.status]));
  const lines: string[] = [];
  for (const name of hosts) {
    if (known.get(name) === 'revoked') {
      throw new AppError('refused', `site add: ${name} was removed, for ever`, {
        hint: 'a host that comes back takes another name',
      });
    }
    if (known.has(name) || underWay.some((one) => one.host === site.host && one.name === name)) continue;
    const request = { command: 'invite', name, policy, rejoin: false } as const;
    const answer = await ask<'invite'>(world.keyServer, socket, request);
    lines.push(`${invitationLine(site.url.origin, answer)}&host=${site.host}`);
  }
  return lines;
}
