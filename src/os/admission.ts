import type { Server, Socket } from 'node:net';
import { addressGroup } from '../base/address-group.ts';
import type { HttpService } from '../base/http-service.ts';

export interface AdmissionLimits {
  readonly connections: number;
  readonly connectionsPerAddress: number;
}

/** The connections that a server has, raw ones: whatever becomes of them later. */
export interface Connections {
  readonly count: number;
  destroyAll(): void;
}

/**
 * Lets connections in while there are not too many, in all and from one address; the others are closed before they
 * cost a handshake.
 */
export function limitConnections(
  server: Server,
  limits: AdmissionLimits,
  service: Pick<HttpService, 'admits' | 'crowded'>,
): Connections {
  const sockets = new Set<Socket>();
  const perGroup = new Map<string, number>();
  const told = new Set<string>();

  /** Told once, until half of the room is there again. */
  function isFull(who: string, count: number, limit: number): boolean {
    if (count < limit / 2) told.delete(who);
    if (count < limit) return false;
    if (!told.has(who)) service.crowded(`${who}: ${count} connections, those beyond are closed`);
    told.add(who);
    return true;
  }

  function leave(socket: Socket, group: string): void {
    sockets.delete(socket);
    const left = (perGroup.get(group) ?? 1) - 1;
    if (left > 0) return void perGroup.set(group, left);
    perGroup.delete(group);
    told.delete(group);
  }

  // Before what the server itself does with a connection.
  server.prependListener('connection', (socket: Socket) => {
    // Absent when the peer has gone already.
    const { remoteAddress } = socket;
    const group = addressGroup(remoteAddress ?? '');
    const count = perGroup.get(group) ?? 0;
    if (
      remoteAddress === undefined ||
      isFull('all addresses', sockets.size, limits.connections) ||
      isFull(group, count, limits.connectionsPerAddress) ||
      !service.admits(remoteAddress)
    ) {
      socket.destroy();
      return;
    }
    perGroup.set(group, count + 1);
    sockets.add(socket);
    socket.once('close', () => leave(socket, group));
  });
  return {
    get count() {
      return sockets.size;
    },
    destroyAll() {
      for (const socket of sockets) socket.destroy();
    },
  };
}
