import { asAppError, failureLine } from '../base/errors.ts';
import { serversIn } from '../enroll/site-policy.ts';
import { parseCommandLine, placeOptions, placesFrom } from './command.ts';
import { keepaliveAnew } from './keepalive-anew.ts';
import { leave } from './leave.ts';
import { onlyOne } from './only-one.ts';
import { rotate } from './rotate.ts';
import { allEnrolled, siteConfig } from './site-settings.ts';
import { knowingPins } from './tpm-pin.ts';
import type { World } from './world.ts';

const options = {
  ...placeOptions,
  'unlock-key-file': { type: 'string' },
  json: { type: 'boolean', default: false },
} as const;

/**
 * Not the same keys sealed anew: a host that was removed may have kept what opens an old sealed key, and a disk its
 * copy of one.
 */
export async function siteReshare(args: readonly string[], base: World): Promise<number> {
  const { values } = parseCommandLine('site', args, options);
  const world = knowingPins(base, {});
  const places = placesFrom(values);
  await siteConfig(places.etc, world);
  using _lock = await onlyOne('site reshare', places.crypttab, world);
  const before = (await allEnrolled(values.etc, world)).filter(({ policy }) => policy.bySite);
  let worst = 0;
  for (const volume of new Set(before.map((one) => one.volume))) {
    try {
      await rotate(volume, places, { ...values, yes: false }, world);
    } catch (thrown) {
      const error = asAppError(thrown);
      if (world.signal.aborted) throw error;
      world.say(`fetch-luks-key: ${volume}: ${failureLine(error)}`);
      worst = Math.max(worst, error.exitStatus);
    }
  }
  if (before.length === 0) world.say('no volume is sealed over the site (hint: enroll VOLUME --site)');
  const named = before.flatMap(({ policy }) => serversIn(policy.config));
  for (const name of new Set(named)) await leaveIfRemoved(name, values.etc, world);
  return worst;
}

/** Forgets the server of a host that was removed, once nothing is sealed by it. @returns whether it is forgotten */
export async function leaveIfRemoved(name: string, etc: string, world: World): Promise<boolean> {
  const { servers, site } = await siteConfig(etc, world);
  if (site.hosts.includes(name) || !servers.has(name)) return true;
  const policies = (await allEnrolled(etc, world)).map(({ policy }) => policy);
  if (policies.some(({ config }) => serversIn(config).includes(name))) return false;
  await leave(name, etc, world);
  await keepaliveAnew(etc, world);
  world.say(`left ${name}, which is no host of the site any more`);
  return true;
}
