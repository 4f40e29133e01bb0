import { limits } from '../base/limits.ts';
import type { Facts } from './facts.ts';
import { type Finding, finding } from './finding.ts';

/** Keys that are pinned need no clock; certificates of `url:` volumes do, and so does whoever reads a log. */
export function checkClock({ nowMs }: Facts): Finding[] {
  if (nowMs >= limits.earliestWallClockMs && nowMs < limits.latestWallClockMs) return [];
  const why =
    nowMs < limits.earliestWallClockMs
      ? 'before this program was written: certificates are not valid yet'
      : 'twenty years after this program was written: certificates are not valid any more';
  const what = `it is ${new Date(nowMs).toISOString().slice(0, 10)} by the clock, ${why}`;
  return [
    finding(
      'clock-wrong',
      'clock',
      what,
      'set it (timedatectl set-time), and replace the battery if it is lost again',
    ),
  ];
}
