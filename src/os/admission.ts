import type { Server, Socket } from 'node:net';
import { addressGroup } from '../base/address-group.ts';

export interface AdmissionLimits {
  readonly connections: number;
  readonly connectionsPerAddress: number;
}

/** The connections that a server has, raw ones: whatever becomes of them later. */
export interface Connections {
  /** Of all, and of the address that has most. For people. */
  readonly count: number;
  destroyAll(): void;
}

/**
 * Lets connections in while there are not too many, in all and from one address; the others are closed before they
 * cost a handshake.
 * @param admits asked last
 */
export function limitConnections(
  server: Server,
  limits: AdmissionLimits,
  admits: (address: string) => boolean,
): Connections {
  const sockets = new Set<Socket>();
  const perGroup = new Map<string, number>();
  server.maxConnections = limits.connections;
  // Before what the server itself does with a connection.
  server.prependListener('connection', (socket: Socket) => {
    // Absent when the peer has gone already.
    const { remoteAddress } = socket;
    const group = addressGroup(remoteAddress ?? '');
    const count = perGroup.get(group) ?? 0;
    if (remoteAddress === undefined || count >= limits.connectionsPerAddress || !admits(remoteAddress)) {
      socket.destroy();
      return;
    }
    perGroup.set(group, count + 1);
    sockets.add(socket);
    socket.once('close', () => {
      sockets.delete(socket);
      const left = (perGroup.get(group) ?? 1) - 1;
      if (left === 0) perGroup.delete(group);
      else perGroup.set(group, left);
    });
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
