import { createServer, type Socket } from 'node:net';
import systemdSocket from 'systemd-socket';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Connection } from '../base/ports.ts';
import { connectionOn } from './connection.ts';
import { peerName } from './libc.ts';

/**
 * Serves the socket that `Accept=no` passed (sd_listen_fds(3)) until nobody has asked for a while, or `stop` aborts: what
 * connects after that waits in the kernel, and has systemd start the next process.
 * @param serve answers one connection, and never throws
 * @throws AppError `usage` when systemd passed no socket; `unavailable`
 */
export async function serveAll(
  environment: NodeJS.ProcessEnv,
  serve: (connection: Connection) => Promise<unknown>,
  stop: AbortSignal,
): Promise<void> {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = environment;
  const isOurs = pid === String(process.pid) && count === '1';
  const listening = isOurs ? systemdSocket(0) : null;
  if (listening === null) {
    throw new AppError('usage', 'handle: --all: expected one listening socket from systemd (Accept=no)', {
      hint: 'systemd starts this command by fetch-luks-key-encrypted.socket',
    });
  }
  const underWay = new Set<Promise<unknown>>();
  const idle = Promise.withResolvers<void>();
  let timer = setTimeout(idle.resolve, limits.sharedIdleMs);
  // Not reading, and open after the client's early SHUT_WR: see connection.ts.
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    clearTimeout(timer);
    const one = serveOne(socket, serve).finally(() => {
      underWay.delete(one);
      clearTimeout(timer);
      if (underWay.size === 0) timer = setTimeout(idle.resolve, limits.sharedIdleMs);
    });
    underWay.add(one);
  });
  server.on('error', (cause) => {
    idle.reject(new AppError('unavailable', `socket: cannot be listened on (${cause.message})`, { cause }));
  });
  server.listen({ fd: listening.fd });
  stop.addEventListener('abort', () => idle.resolve(), { once: true });
  if (stop.aborted) idle.resolve();
  await idle.promise;
  clearTimeout(timer);
  server.close();
  await Promise.allSettled(underWay);
}

async function serveOne(socket: Socket, serve: (connection: Connection) => Promise<unknown>): Promise<void> {
  socket.on('error', () => {});
  try {
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    await serve(connectionOn(fd, 'listener', peerName(fd), socket));
  } catch (thrown) {
    // A client that is gone before it was looked at has no name any more.
    if (!(thrown instanceof AppError && thrown.code === 'bad-request')) throw thrown;
  } finally {
    socket.destroy();
  }
}
