import { constants } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { plainAddress } from '../base/address-group.ts';
import { AppError } from '../base/errors.ts';
import type { HttpService, Peer } from '../base/http-service.ts';
import { serverLimits } from '../base/server-limits.ts';
import { type AdmissionLimits, limitConnections } from './admission.ts';
import { answerRequests } from './http-requests.ts';
import { type Listener, listen, type Place } from './listener.ts';
import { provenKey } from './proven-key.ts';

export interface HttpsOptions {
  /** PEM of our certificate (and those that lead to its authority) and of its key. */
  readonly certificate: Buffer;
  readonly key: Buffer;
  /** Whether clients are asked to prove a key. Without, each of them is a stranger. */
  readonly asksForKey: boolean;
  readonly place: Place;
  readonly limits?: HttpsLimits;
}

/** See `limits.server…`. */
export interface HttpsLimits extends AdmissionLimits {
  readonly handshakeMs: number;
  readonly headersMs: number;
  readonly requestMs: number;
  readonly timeCheckMs: number;
  readonly idleMs: number;
}

export const httpsLimits: HttpsLimits = {
  connections: serverLimits.connections,
  connectionsPerAddress: serverLimits.connectionsPerAddress,
  handshakeMs: serverLimits.handshakeMs,
  headersMs: serverLimits.headersMs,
  requestMs: serverLimits.requestMs,
  timeCheckMs: serverLimits.timeCheckMs,
  idleMs: serverLimits.idleMs,
};

/** One that can go over to another key: what is in flight is finished, then every connection ends. */
export interface HttpsListener extends Listener {
  renew(identity: Pick<HttpsOptions, 'certificate' | 'key'>): Promise<void>;
}

/**
 * HTTP/1.1 over TLS 1.3. A client is who it proved to be in this very handshake: no authority is asked, and no session
 * can be resumed.
 * @throws AppError `bad-config` (certificate and key); `unavailable` (the address is taken, or not ours)
 */
export async function serveHttps(options: HttpsOptions, service: HttpService): Promise<HttpsListener> {
  const server = httpsServer(options);
  const connections = limitConnections(server, options.limits ?? httpsLimits, service);
  const peers = new WeakMap<Socket, Peer>();
  // Before HTTP is spoken on it.
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    const address = plainAddress(socket.remoteAddress ?? '');
    const pinSha256 = options.asksForKey ? provenKey(socket) : null;
    peers.set(socket, { kind: 'network', address, pinSha256 });
  });
  // A handshake that fails is the client's fault, or nobody's; Node has closed the connection.
  server.on('tlsClientError', (_fault, socket) => void socket.destroy());
  const unknown: Peer = { kind: 'network', address: '', pinSha256: null };
  const requests = answerRequests(server, service, (socket) => peers.get(socket) ?? unknown);
  const listener = await listen(server, options.place, requests, connections);
  return {
    port: listener.port,
    get connections() {
      return listener.connections;
    },
    stop: listener.stop,
    async renew(identity) {
      server.setSecureContext(contextOf(identity));
      await listener.clear();
    },
  };
}

/** What a handshake is made with. */
function contextOf({ certificate, key }: Pick<HttpsOptions, 'certificate' | 'key'>): SecureContextOptions {
  return {
    cert: certificate,
    key,
    minVersion: 'TLSv1.3',
    ca: [],
    // A ticket in TLS 1.3 is then the number of a session that this server keeps; and it keeps none. OpenSSL sends
    // the number all the same, and Node has no way to SSL_CTX_set_num_tickets(3).
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

function httpsServer({ certificate, key, asksForKey, limits: own = httpsLimits }: HttpsOptions): Server {
  try {
    return createServer({
      ...contextOf({ certificate, key }),
      ALPNProtocols: ['http/1.1'],
      requestCert: asksForKey,
      // Every certificate is taken, even an expired one: its key alone is what counts, and no authority is asked.
      rejectUnauthorized: false,
      handshakeTimeout: own.handshakeMs,
      headersTimeout: own.headersMs,
      requestTimeout: own.requestMs,
      connectionsCheckingInterval: own.timeCheckMs,
      keepAliveTimeout: own.idleMs,
      maxHeaderSize: serverLimits.headerBytes,
      insecureHTTPParser: false,
      // `ambiguity` looks for one; Node would answer by itself, and go on to the next request.
      requireHostHeader: false,
      // The kernel looks whether a silent peer is still there.
      keepAlive: true,
      keepAliveInitialDelay: serverLimits.heartbeatMs,
    });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AppError('bad-config', `certificate and key: ${reason}`, { cause });
  }
}
