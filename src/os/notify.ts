import { AppError } from '../base/errors.ts';
import { sendDatagram } from './libc.ts';

/** What a service of `Type=notify` tells systemd (sd_notify(3)). Without systemd, nothing. */
export interface ServiceManager {
  ready(): void;
  /** @param text one line, for `systemctl status` */
  status(text: string): void;
  stopping(): void;
  /** To be told `alive` at least this often (`WatchdogSec=`), by whoever knows that it is; null = it does not ask. */
  readonly watchdogMs: number | null;
  alive(): void;
}

/**
 * Takes the three variables away, which are for this process alone (sd_watchdog_enabled(3)).
 * @throws AppError `unavailable` from each call, when systemd does not take it
 */
export function serviceManager(environment: NodeJS.ProcessEnv): ServiceManager {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: usec, WATCHDOG_PID: pid } = environment;
  delete environment['NOTIFY_SOCKET'];
  delete environment['WATCHDOG_USEC'];
  delete environment['WATCHDOG_PID'];
  const tell = (message: string) => {
    if (socket !== undefined) sendDatagram(addressOf(socket), Buffer.from(message));
  };
  const isOurs = pid === undefined || pid === String(process.pid);
  return {
    ready: () => tell('READY=1'),
    status: (text) => tell(`STATUS=${text.replaceAll('\n', ' ')}`),
    stopping: () => tell('STOPPING=1'),
    watchdogMs: isOurs && usec !== undefined ? Number(usec) / 1000 : null,
    alive: () => tell('WATCHDOG=1'),
  };
}

function addressOf(socket: string): string {
  if (socket.startsWith('/')) return socket;
  if (socket.startsWith('@')) return `\0${socket.slice(1)}`;
  throw new AppError('unavailable', `NOTIFY_SOCKET: expected a path or @NAME, got ${socket}`);
}
