import { createServer, type Server } from 'node:http';
import { plainAddress } from '../base/address-group.ts';
import type { HttpService } from '../base/http-service.ts';
import { serverLimits } from '../base/server-limits.ts';
import { limitConnections } from './admission.ts';
import { answerRequests } from './http-requests.ts';
import { type Listener, listen, type Place } from './listener.ts';

/**
 * HTTP/1.1 without TLS, for what everybody on the way may read. Everybody is a stranger there.
 * @throws AppError `unavailable`: the address is taken, or not ours
 */
export async function serveHttp(place: Place, service: HttpService): Promise<Listener> {
  const server = plainServer();
  const count = serverLimits.plainConnections;
  const connections = limitConnections(server, { connections: count, connectionsPerAddress: count }, service);
  const requests = answerRequests(server, service, ({ remoteAddress = '' }) => {
    return { kind: 'network', address: plainAddress(remoteAddress), pinSha256: null };
  });
  return await listen(server, place, requests, connections);
}

/** With the limits of every listener of ours. */
export function plainServer(): Server {
  return createServer({
    headersTimeout: serverLimits.headersMs,
    requestTimeout: serverLimits.requestMs,
    connectionsCheckingInterval: serverLimits.timeCheckMs,
    keepAliveTimeout: serverLimits.heartbeatMs,
    maxHeaderSize: serverLimits.headerBytes,
    requireHostHeader: false,
  });
}
