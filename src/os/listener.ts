import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AppError } from '../base/errors.ts';
import { serverLimits } from '../base/server-limits.ts';
import type { Connections } from './admission.ts';
import type { Requests } from './http-requests.ts';

/** Where a server listens: an address, a path of an AF_UNIX socket, or a socket that systemd passed. */
export type Place =
  | { readonly host: string; readonly port: number }
  | { readonly path: string }
  | { readonly fd: number };

export interface Listener {
  /** 0 for an AF_UNIX socket. */
  readonly port: number;
  /** Connections that it has now. */
  readonly connections: number;
  /** Takes no more connections, finishes what is in flight within its time, and closes all. */
  stop(): Promise<void>;
}

export interface Clearing {
  /** Finishes what is in flight within its time, closes all connections that there are, and goes on. */
  clear(): Promise<void>;
}

/** @throws AppError `unavailable`: the address is taken, or not ours */
export async function listen(
  server: Server,
  place: Place,
  requests: Requests,
  connections: Connections,
): Promise<Listener & Clearing> {
  await begin(server, place);
  const clear = async () => {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, serverLimits.stopMs);
    await Promise.race([requests.finish(), late.promise]);
    clearTimeout(timer);
    connections.destroyAll();
  };
  const address = server.address() as AddressInfo | string | null;
  return {
    port: typeof address === 'object' && address !== null ? (address.port ?? 0) : 0,
    get connections() {
      return connections.count;
    },
    async clear() {
      await clear();
      requests.goOn();
    },
    async stop() {
      const closed = new Promise((done) => server.close(done));
      await clear();
      await closed;
    },
  };
}

function begin(server: Server, place: Place): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const where = 'host' in place ? `${place.host} port ${place.port}` : JSON.stringify(place);
      reject(
        new AppError('unavailable', `${where}: cannot listen (${cause.code ?? cause.message})`, { cause }),
      );
    });
    server.listen(place, resolve);
  });
}
