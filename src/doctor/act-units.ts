import type { Files } from '../base/ports.ts';
import type { Config } from '../config/config.ts';
import type { Facts } from './facts.ts';
import { type Finding, finding } from './finding.ts';
import { readUnit } from './unit-files.ts';

/**
 * What `on-locked:` and `on-revoked:` need of systemd: the keep-alive daemon's unit pulls it in, so it only has to be
 * there. @throws AppError `bad-config`
 */
export async function actUnitsOff(
  { servers, onLocked, onRevoked }: Config,
  files: Files,
  folders: readonly string[],
): Promise<Facts['actUnitsOff']> {
  if (servers.size === 0) return [];
  const verdicts = [...(onLocked.length > 0 ? ['locked'] : []), ...(onRevoked.length > 0 ? ['revoked'] : [])];
  const off: { unit: string; masked: boolean }[] = [];
  for (const verdict of verdicts) {
    for (const type of ['path', 'service']) {
      const unit = `fetch-luks-key-act@${verdict}.${type}`;
      const found = await readUnit(files, folders, unit);
      if (found === null || found.masked) off.push({ unit, masked: found !== null });
    }
  }
  return off;
}

export function checkActUnits({ actUnitsOff: off }: Facts): Finding[] {
  return off.map(({ unit, masked }) => {
    const what = `it is ${masked ? 'masked' : 'not there'}: what config.yaml says about that verdict is not done`;
    return finding('act-off', unit, what, masked ? `systemctl unmask ${unit}` : 'install the package again');
  });
}
