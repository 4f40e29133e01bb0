import { limits } from '../base/limits.ts';
import type { Logger } from '../base/ports.ts';
import { say } from './standard-streams.ts';

/** The journal takes a line's priority from `<N>` before it (sd-daemon(3), systemd.exec(5) `SyslogLevelPrefix=`). */
export const journal: Logger = {
  info: (line) => write(6, line),
  warning: (line) => write(4, line),
  error: (line) => write(3, line),
};

/**
 * One write(2) a line: lines of parallel handlers do not mix, and none is lost when the process ends. What strangers may
 * have put into it makes no second entry: journald begins one at each newline and NUL, and after 48 KiB (journald.conf(5)
 * `LineMax=`).
 */
function write(priority: number, line: string): void {
  const one = line.replaceAll(/\s*[\p{Cc}\u2028\u2029]+\s*/gu, ' ');
  const fits = one.length <= limits.journalLineChars;
  say(`<${priority}>${fits ? one : `${one.slice(0, limits.journalLineChars)}…`}`);
}
