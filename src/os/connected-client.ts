import { connect, type Socket } from 'node:net';
import type { buildConnector, Client } from 'undici';
import type { TlsSettings } from '../base/ports.ts';
import { afterThisTurn } from '../base/turn.ts';
import { closedEarly, established } from './established.ts';
import { lookUp } from './names.ts';

/**
 * undici's client on one connection, which is there already and is whom we want: no byte of a request leaves before.
 * @param systemStore PEM file of the authorities that are trusted where `settings` names none
 * @param sockets are given every socket that was made, for the caller to destroy
 * @throws AppError `bad-config`, `unavailable`; what a socket throws
 */
export async function connectedClient(
  url: URL,
  settings: TlsSettings,
  systemStore: string,
  sockets: Socket[],
  options: Pick<Client.Options, 'pipelining' | 'keepAliveTimeout' | 'keepAliveMaxTimeout'>,
): Promise<Client> {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const secure = url.protocol === 'https:';
  const tls = secure ? (await import('./tls.ts')).tlsClient(settings, systemStore) : null;
  const port = Number(url.port) || (secure ? 443 : 80);
  const transport = connect({ host, port, noDelay: true, lookup: lookUp });
  sockets.push(transport);
  const connected = established(transport, 'connect');
  // Loaded while the kernel connects, which it does not do before this turn is over.
  const loaded = afterThisTurn().then(() => import('undici/lib/dispatcher/client.js'));
  const [undici] = await Promise.all([loaded, connected]);
  if (transport.destroyed) throw closedEarly();
  const socket = tls === null ? transport : await tls.secure(transport, host);
  sockets.push(socket);
  // The caller has the time.
  return new undici.default(url.origin, {
    connect: handOver(socket),
    headersTimeout: 0,
    bodyTimeout: 0,
    ...options,
  });
}

/** undici's way to a connection: this one, once, and later than the call, which it would not notice. */
function handOver(socket: Socket): buildConnector.connector {
  let used = false;
  return (_options, callback) => {
    const usable = !used && !socket.destroyed;
    used = true;
    queueMicrotask(() => (usable ? callback(null, socket) : callback(closedEarly(), null)));
  };
}
