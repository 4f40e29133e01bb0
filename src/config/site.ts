import * as v from 'valibot';
import { list, read } from './field.ts';
import { isServerName, parseOrigin, type ServerSettings } from './server.ts';

/** The site that this machine is a host of (docs/SITE.md): each host runs a key server for the others. */
export interface SiteSettings {
  /** What the others call this host. */
  readonly host: string;
  /** Where they reach its key server. */
  readonly url: URL;
  /** Hosts that have to be up for one of them to open its volumes, itself included; at least 2. */
  readonly need: number;
  /** The others, by the names that their servers have under `servers:`. */
  readonly hosts: readonly string[];
  /** This machine's TPM alone opens its volumes too. */
  readonly allowLocalUnseal: boolean;
}

/** A pin for each other host, as many as one sealed key may ask over the network (`networkPins`). */
export const SITE_HOSTS = 17;

const name = read(
  (value) => (typeof value === 'string' && isServerName(value) ? value : null),
  'a name of letters, digits, . _ and -',
);

const need = read(
  (value) => (Number.isInteger(value) && Number(value) >= 2 && Number(value) <= SITE_HOSTS ? value : null),
  `2 to ${SITE_HOSTS}: one host alone must not open its volumes`,
);

const entries = {
  host: v.optional(name, null),
  url: v.optional(read(parseOrigin, 'an https:// URL without path, user name and password'), null),
  need: v.optional(need, 2),
  hosts: v.optional(list(name, "a list of the other hosts' names")),
  'allow-local-unseal': v.optional(v.boolean('true or false'), false),
};

export const siteFields: readonly string[] = Object.keys(entries);
export const siteSchema = v.object(entries, 'a map');

export function siteSettings(fields: v.InferOutput<typeof siteSchema>): SiteSettings {
  const { host, url, need: needed, hosts = [], 'allow-local-unseal': allowLocalUnseal } = fields;
  return { host, url, need: Number(needed), hosts, allowLocalUnseal };
}

/**
 * What would let one host count as two, or as itself: hosts are told apart by the keys of their servers.
 * @returns where in `hosts`, what was expected there, what is there instead
 */
export function siteProblems(
  { host, hosts }: Pick<SiteSettings, 'host' | 'hosts'>,
  servers: ReadonlyMap<string, Pick<ServerSettings, 'pinSha256'>>,
): { readonly index: number; readonly expected: string; readonly got: string }[] {
  return hosts.flatMap((one, index) => {
    const got = JSON.stringify(one);
    const before = hosts.slice(0, index);
    const server = servers.get(one);
    if (one === host) return [{ index, expected: 'another host', got: `${got}, which is this one` }];
    if (before.includes(one)) return [{ index, expected: 'each host once', got: `${got} again` }];
    if (server === undefined) return [{ index, expected: 'a name under servers:', got }];
    const same = before.find((other) => servers.get(other)?.pinSha256.equals(server.pinSha256));
    if (same === undefined) return [];
    return [{ index, expected: 'another server for each host', got: `the key of ${same} for ${got}` }];
  });
}
