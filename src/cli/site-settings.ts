import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { volumeName } from '../base/names.ts';
import type { Config } from '../config/config.ts';
import { withSite } from '../config/edit.ts';
import { loadConfig } from '../config/load.ts';
import type { SiteSettings } from '../config/site.ts';
import { type EnrolRecord, enrolledOf } from '../enroll/record.ts';
import { DEFAULT_OPERATOR_SOCKET } from './operator.ts';
import type { World } from './world.ts';

/** What the commands about a site have in common. */

export const siteOptions = {
  socket: { type: 'string', default: DEFAULT_OPERATOR_SOCKET },
  json: { type: 'boolean', default: false },
} as const;

/** A configuration with a site in it. */
export type SiteConfig = Config & { readonly site: SiteSettings };

/** @throws AppError `usage` when there is none; `bad-config` */
export async function siteConfig(etc: string, world: World): Promise<SiteConfig> {
  const config = await loadConfig(world.files, etc);
  const { site } = config;
  if (site !== null) return { ...config, site };
  throw new AppError('usage', `site: ${etc}/config.yaml has no site`, {
    hint: 'first: fetch-luks-key site init',
  });
}

/** @throws AppError `unavailable` */
export async function keepSite(site: SiteSettings, etc: string, world: World): Promise<void> {
  const path = `${etc}/config.yaml`;
  const text = (await world.files.read(path, limits.configBytes))?.toString() ?? '';
  world.durable.makeFolder(etc);
  world.durable.replace(path, Buffer.from(withSite(text, { ...site, hosts: site.hosts.toSorted() })));
}

/** The sealed keys of all volumes that were enrolled. @throws AppError `damaged`, `bad-config` */
export async function allEnrolled(etc: string, world: World): Promise<EnrolRecord[]> {
  const names = (await world.files.list(`${etc}/enrolled`)).filter((name) => name.endsWith('.json'));
  const all = names.map((name) => enrolledOf(etc, volumeName(name.slice(0, -'.json'.length)), world.files));
  return (await Promise.all(all)).flat();
}
