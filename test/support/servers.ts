import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls';
import type { Test } from 'tap';

/** Servers on 127.0.0.1 that misbehave on demand, for faults that a real one does not produce. */
export interface FakeServer {
  readonly port: number;
  /** Resolves when every connection so far has been closed by the client, or for good. */
  allClosed(): Promise<void>;
}

export function serveHttp(t: Test, listener: RequestListener): Promise<FakeServer> {
  return listen(t, createHttpServer(listener));
}

/** @param onConnection is given the raw connection */
export function serveBytes(t: Test, onConnection: (socket: Socket) => void): Promise<FakeServer> {
  return listen(t, createServer(onConnection));
}

/** @param onConnection is given the connection after the handshake; failed handshakes are ignored */
export function serveTls(t: Test, options: TlsOptions, onConnection: (socket: TLSSocket) => void) {
  const server = createTlsServer(options, onConnection);
  server.on('tlsClientError', () => {});
  return listen(t, server);
}

/** One complete answer to whatever was asked. */
export function answer(
  status: number,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
): RequestListener {
  return (_request, response) => {
    response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers }).end(body);
  };
}

async function listen(t: Test, server: Server): Promise<FakeServer> {
  const closings = new Set<Promise<void>>();
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    closings.add(new Promise((resolve) => socket.once('close', () => resolve())));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    port: (server.address() as AddressInfo).port,
    allClosed: async () => {
      await Promise.all(closings);
    },
  };
}
