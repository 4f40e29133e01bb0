import { AppError } from '../base/errors.ts';
import { checkClock } from './clock.ts';
import { checkCredentials } from './credentials.ts';
import type { Facts } from './facts.ts';
import { type Finding, finding } from './finding.ts';
import { checkHeaders } from './headers.ts';
import { checkInitramfs } from './initramfs.ts';
import { checkParsec } from './parsec.ts';
import { checkPins } from './pins.ts';
import { checkServers } from './servers.ts';
import { checkSite } from './site.ts';
import { checkUnits } from './units.ts';
import { checkVolumes } from './volumes.ts';

/** All that is wrong, or could be better, in the order of docs/DOCTOR.md. */
export function diagnose(facts: Facts): Finding[] {
  return [
    ...unitFindings(facts),
    ...checkCredentials(facts),
    ...checkVolumes(facts),
    ...checkHeaders(facts),
    ...checkPins(facts),
    ...checkParsec(facts),
    ...checkServers(facts),
    ...checkSite(facts),
    ...checkClock(facts),
    ...checkInitramfs(facts),
  ];
}

function unitFindings({ units, mounts, bootedWithSystemd, volumes, credentials }: Facts): Finding[] {
  if (volumes.length === 0 && credentials.length === 0) return [];
  if (units instanceof AppError) {
    const what = `whether the units are there, and start in the right order, could not be looked at: ${units.message}`;
    return [finding('units-not-checked', 'systemd', what, 'run it as root, where systemd is installed')];
  }
  const found = checkUnits(units, mounts);
  if (bootedWithSystemd) return found;
  const what = 'this system was not booted with systemd: what is said of units is about a boot with it';
  return [
    ...found,
    finding('other-init', 'systemd', what, 'none is needed if the next boot is with systemd'),
  ];
}
