import { asAppError } from '../base/errors.ts';
import { KEEPALIVE_UNIT } from '../base/names.ts';
import { loadConfig } from '../config/load.ts';
import { restart, stop, systemdRuns } from '../enroll/units.ts';
import { absolutePath, placeOptions } from './command.ts';
import type { World } from './world.ts';

/**
 * The daemon that keeps this machine alive reads config.yaml when it starts: of a server that joined since it knows
 * nothing, and the machine would be locked there when its first lease ends.
 */
export async function keepaliveAnew(etc: string, world: World): Promise<void> {
  if (absolutePath(etc) !== placeOptions.etc.default || !(await systemdRuns(world))) return;
  const { servers } = await loadConfig(world.files, etc);
  try {
    await (servers.size === 0 ? stop : restart)(KEEPALIVE_UNIT, world, world.signal);
  } catch (thrown) {
    world.say(`warning: ${asAppError(thrown).message} (hint: systemctl restart ${KEEPALIVE_UNIT})`);
  }
}
