import { HarnessError } from './command.ts';
import { type Suite, suites } from './guest.ts';

/** What PID 1 and the kernel say of themselves. */

/** PID 1's first line. */
export const BANNER = /systemd (\d+)\S* running in system mode/;
/** PID 1 gives up for good; the kernel does. */
const CRASHED =
  /^.*(?:Caught <\w+>, |Freezing execution|Failed to start up manager|Kernel panic|Attempted to kill init).*/m;
/** A unit that did not end when the machine did, until systemd killed it. */
const STUCK = /\S+: State '(?:stop|final)-\w+' timed out/;

/** @returns what went wrong, although what goes on without PID 1 may have reported that all is well; null = nothing */
export function consoleFault(console: string): string | null {
  // In so many words: of a console only the end is shown, and a kernel's own report may be longer.
  const crashed = CRASHED.exec(console)?.[0];
  if (crashed !== undefined) return `the guest crashed: ${crashed.trim()}`;
  const stuck = STUCK.exec(console)?.[0];
  return stuck === undefined ? null : `the guest did not end in order: ${stuck}`;
}

/**
 * Debian's testing goes on to the next version by itself.
 * @param text that the banner is in
 * @throws HarnessError when it is not the version that every result is told under
 */
export function checkVersion(step: string, suite: Suite, text: string, log: string): void {
  const got = BANNER.exec(text)?.[1] ?? 'none';
  const expected = String(suites[suite]);
  if (got !== expected)
    throw new HarnessError(step, `expected systemd ${expected} in ${suite}, got ${got}: see guest.ts`, log);
}
