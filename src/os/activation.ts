import { fstatSync } from 'node:fs';
import systemdSocket from 'systemd-socket';
import { AppError } from '../base/errors.ts';
import type { Connection } from '../base/ports.ts';
import { connectionOn } from './connection.ts';
import { peerName } from './libc.ts';

/**
 * Takes the one connection that `Accept=yes` passed. As standard input (systemd.exec(5), `StandardInput=socket`) it
 * comes without variables; else (sd_listen_fds(3)) LISTEN_PID must be this process and LISTEN_FDS 1, which the
 * `systemd-socket` package does not check.
 * @throws AppError `usage` when there is none; `bad-request` when it is no AF_UNIX connection
 */
export function takeConnection(environment: NodeJS.ProcessEnv): Connection {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = environment;
  if (pid === undefined && count === undefined && isNamedPeer())
    return connection(0, 'standard-input', environment);
  if (pid !== String(process.pid) || count !== '1') {
    throw new AppError(
      'usage',
      `handle: expected one connection from systemd (LISTEN_PID=${process.pid}, LISTEN_FDS=1), got LISTEN_PID=${pid ?? ''} LISTEN_FDS=${count ?? ''}`,
      {
        hint: 'systemd starts this command for each connection; to ask it yourself: fetch-luks-key request VOLUME',
      },
    );
  }
  const passed = systemdSocket(0);
  if (passed === null) throw new AppError('usage', 'handle: systemd passed no connection');
  return connection(passed.fd, 'descriptor', environment);
}

/** Other programs give their children unnamed sockets as standard input. */
const isNamedPeer = () => fstatSync(0).isSocket() && peerName(0).length > 0;

function connection(fd: number, way: Connection['way'], environment: NodeJS.ProcessEnv): Connection {
  return connectionOn(fd, way, remoteAddress(environment) ?? peerName(fd));
}

/**
 * $REMOTE_ADDR, which systemd 257 and later set for AF_UNIX: `@NAME` for an abstract address. systemd escapes what
 * is not printable ASCII, so an address with a backslash is left to getpeername(2), which is always exact.
 */
function remoteAddress(environment: NodeJS.ProcessEnv): Buffer | null {
  const address = environment['REMOTE_ADDR'];
  if (address === undefined || !address.startsWith('@') || address.includes('\\')) return null;
  return Buffer.from(`\0${address.slice(1)}`);
}
