import type { Logger } from '../base/ports.ts';
import { say } from './standard-streams.ts';

/** The journal takes a line's priority from `<N>` before it (sd-daemon(3), systemd.exec(5) `SyslogLevelPrefix=`). */
export const journal: Logger = {
  info: (line) => write(6, line),
  warning: (line) => write(4, line),
  error: (line) => write(3, line),
};

/** One write(2) a line: lines of parallel handlers do not mix, and none is lost when the process ends. */
function write(priority: number, line: string): void {
  say(`<${priority}>${line.replaceAll(/\s*\n\s*/g, ' ')}`);
}
