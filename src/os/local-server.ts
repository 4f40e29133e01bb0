import { lstatSync, unlinkSync } from 'node:fs';
import type { Socket } from 'node:net';
import { AppError } from '../base/errors.ts';
import type { HttpService, Peer } from '../base/http-service.ts';
import { answerRequests } from './http-requests.ts';
import { plainServer } from './http-server.ts';
import { peerCredentials } from './libc.ts';
import { type Listener, listen } from './listener.ts';

/**
 * HTTP/1.1 on an AF_UNIX socket of mode 0600: who may open it is the operator. One that was left behind is replaced.
 * @param path in a folder where nobody else may write
 * @throws AppError `unavailable`: it cannot be made there; `bad-config`: something else is there
 */
export async function serveLocally(path: string, service: HttpService): Promise<Listener> {
  const server = plainServer();
  const sockets = new Set<Socket>();
  const peers = new WeakMap<Socket, Peer>();
  server.on('connection', (socket: Socket) => {
    // As it was at connect(2): root, or whoever we run as, by the socket's mode.
    peers.set(socket, { kind: 'local', uid: peerCredentials(descriptorOf(socket)).uid });
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const nobody: Peer = { kind: 'network', address: '', pinSha256: null };
  const requests = answerRequests(server, service, (socket) => peers.get(socket) ?? nobody);
  const connections = {
    get count() {
      return sockets.size;
    },
    destroyAll() {
      for (const socket of sockets) socket.destroy();
    },
  };
  removeLeftBehind(path);
  // bind(2) is called at once; chmod(2) after it would leave a moment in which others may connect.
  const before = process.umask(0o177);
  const listening = listen(server, { path }, requests, connections);
  process.umask(before);
  return await listening;
}

function descriptorOf(socket: Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}

function removeLeftBehind(path: string): void {
  const about = lstatSync(path, { throwIfNoEntry: false });
  if (about === undefined) return;
  if (!about.isSocket()) throw new AppError('bad-config', `${path}: expected a socket or nothing`);
  unlinkSync(path);
}
