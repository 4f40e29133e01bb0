import { AppError } from '../base/errors.ts';
import { isServerName } from '../config/server.ts';
import { SITE_HOSTS } from '../config/site.ts';
import { allMachines, ask } from './operator.ts';
import type { World } from './world.ts';

/** A server gives each key once a boot: whoever is to share its keys anew has to open them another time. */
export async function allowOthers(hosts: readonly string[], socket: string, world: World): Promise<void> {
  for (const { name, status } of await allMachines(world.keyServer, socket)) {
    if (status !== 'armed' || !hosts.includes(name)) continue;
    await ask<'machine'>(world.keyServer, socket, { command: 'allow', name });
  }
}

/** @throws AppError `usage` */
export function needFrom(text: string): number {
  const need = Number(text);
  if (/^\d{1,2}$/.test(text) && need >= 2 && need <= SITE_HOSTS) return need;
  throw new AppError('usage', `site: --need: expected 2 to ${SITE_HOSTS}, got ${text}`, {
    hint: 'one host alone must not open its volumes',
  });
}

/** @throws AppError `usage` */
export function hostName(text: string): string {
  if (isServerName(text)) return text;
  throw new AppError('usage', `site: expected letters, digits, dots, _ and -, got ${JSON.stringify(text)}`);
}
