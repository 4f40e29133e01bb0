import systemdSocket from 'systemd-socket';
import { AppError } from '../base/errors.ts';

/**
 * The sockets on which systemd listens for us (sd_listen_fds(3)), by `FileDescriptorName=`: LISTEN_PID must be this
 * process, which the `systemd-socket` package does not check. Takes the variables away.
 * @param known names that are of use
 * @returns descriptors by name; none when systemd passed none
 * @throws AppError `bad-config`: a socket of another name, or two of one
 */
export function listeningSockets(
  environment: NodeJS.ProcessEnv,
  known: readonly string[],
): ReadonlyMap<string, number> {
  const { LISTEN_PID: pid, LISTEN_FDS: count = '', LISTEN_FDNAMES: names = '' } = environment;
  const sockets = new Map<string, number>();
  const isOurs = pid === String(process.pid) && /^[1-9]\d?$/.test(count);
  for (let index = 0; isOurs && index < Number(count); index++) {
    const name = names.split(':')[index] ?? '';
    const fd = systemdSocket(index)?.fd;
    if (fd === undefined || !known.includes(name) || sockets.has(name)) {
      throw new AppError(
        'bad-config',
        `socket ${name}: expected FileDescriptorName= ${known.join(', ')}, one each`,
      );
    }
    sockets.set(name, fd);
  }
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete environment[name];
  return sockets;
}
