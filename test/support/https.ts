import { once } from 'node:events';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import type { HttpCall, HttpReply, HttpService } from '../../src/base/http-service.ts';
import { type HttpsLimits, httpsLimits, serveHttps } from '../../src/os/https-server.ts';
import type { Listener } from '../../src/os/listener.ts';
import { type Identity, selfSigned } from './certificates.ts';

export interface TestServer {
  readonly identity: Identity;
  readonly port: number;
  readonly listener: Listener;
  /** `METHOD TARGET` of each call, in order. */
  readonly calls: string[];
  /** Why something was no request. */
  readonly reasons: string[];
  /** What was told about connections. */
  readonly lines: string[];
}

export function text(status: number, body: string): HttpReply {
  return { status, headers: { 'content-type': 'text/plain' }, body: Buffer.from(body), close: false };
}

/** Who somebody proved to be, as `answer` may say it. */
export function pinOf({ peer }: HttpCall): string {
  return peer.kind === 'network' ? (peer.pinSha256?.toString('hex') ?? 'stranger') : `uid ${peer.uid}`;
}

/** The real listener on 127.0.0.1, with a service of the test's. */
export async function startHttps(
  t: Test,
  answer: (call: HttpCall) => Promise<HttpReply> = async (call) => text(200, pinOf(call)),
  options: { identity?: Identity; limits?: Partial<HttpsLimits>; admits?: HttpService['admits'] } = {},
): Promise<TestServer> {
  const identity = options.identity ?? selfSigned({});
  const calls: string[] = [];
  const reasons: string[] = [];
  const lines: string[] = [];
  const service: HttpService = {
    admits: options.admits ?? (() => true),
    crowded: (line) => void lines.push(line),
    answer(call) {
      calls.push(`${call.method} ${call.target}`);
      return answer(call);
    },
    refuse(reason) {
      reasons.push(reason);
      return { ...text(400, 'refused'), close: true };
    },
  };
  const { certificate, key } = identity;
  const limits = { ...httpsLimits, ...options.limits };
  const place = { host: '127.0.0.1', port: 0 };
  const listener = await serveHttps({ certificate, key, asksForKey: true, place, limits }, service);
  t.teardown(() => listener.stop());
  return { identity, port: listener.port, listener, calls, reasons, lines };
}

/** A client of Node's own, for what ours would never do. */
export async function connectTls(
  t: Test,
  port: number,
  options: ConnectionOptions & { identity?: Identity; localAddress?: string } = {},
): Promise<TLSSocket> {
  const { identity, ...rest } = options;
  const shown = identity === undefined ? {} : { cert: identity.certificate, key: identity.key };
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...shown, ...rest });
  t.teardown(() => socket.destroy());
  await once(socket, 'secureConnect');
  socket.on('error', () => {});
  return socket;
}

/** Everything until the server closes the connection. */
export async function received(socket: TLSSocket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  if (!socket.closed) await once(socket, 'close');
  return Buffer.concat(chunks).toString('latin1');
}

export const GET = 'GET / HTTP/1.1\r\nHost: keys.example\r\nConnection: close\r\n\r\n';

/** For what follows in its own time; the test's time limit ends it. */
export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise(setImmediate);
}
