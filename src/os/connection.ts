import { Socket } from 'node:net';
import { AppError } from '../base/errors.ts';
import type { Connection } from '../base/ports.ts';
import { hungUp, ownName, peerCredentials } from './libc.ts';

/**
 * @param accepted Node's own socket of it; else the first answer makes one, as descriptor `fd` alone costs less
 * @throws AppError `bad-request` when it is no AF_UNIX connection
 */
export function connectionOn(
  fd: number,
  way: Connection['way'],
  peerAddress: Buffer,
  accepted: Socket | null = null,
): Connection {
  let begun = false;
  const peer = peerCredentials(fd);
  const path = ownName(fd);
  return {
    peerAddress,
    peer,
    socketPath: path.at(0) === 0 ? '' : path.toString(),
    way,
    peerIsTrusted: peer.uid === 0 || peer.uid === process.getuid?.(),
    isGone: () => accepted?.destroyed === true || hungUp(fd),
    async send(bytes, timeoutMs) {
      // The descriptor goes with the first answer, whole or not.
      if (begun) throw new AppError('stopped', 'an answer was begun already');
      begun = true;
      await send(accepted ?? writingSocket(fd), bytes, timeoutMs);
    },
  };
}

/**
 * systemd's client shuts its writing side at once, so reading gives EOF immediately: with `allowHalfOpen: false`
 * Node would then close our side too, before a byte is written. Hence true, and not readable at all.
 */
function writingSocket(fd: number): Socket {
  return new Socket({ fd, allowHalfOpen: true, readable: false, writable: true });
}

function send(socket: Socket, bytes: Uint8Array, timeoutMs: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const fail = (what: string, cause?: Error) => {
    reject(new AppError('stopped', `the client ${what} before the whole answer was written`, { cause }));
    socket.destroy();
  };
  const timer = setTimeout(() => fail(`did not read for ${timeoutMs / 1000} s`), timeoutMs);
  socket.on('error', (error) => fail('went away', error));
  // Not end()'s callback: that is called for a failure too.
  socket.on('finish', resolve);
  // A write of all bytes followed by shutdown(SHUT_WR).
  socket.end(bytes);
  return promise.finally(() => clearTimeout(timer));
}
