import type { KeyObject } from 'node:crypto';
import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Client } from 'undici';
import { AppError } from '../base/errors.ts';
import type { ServerConnection, ServerConnector, ServerStream } from '../base/server-connection.ts';
import { serverLimits } from '../base/server-limits.ts';
import { answerOf } from './answer.ts';
import { connectedClient } from './connected-client.ts';
import { transportFault } from './transport-fault.ts';

/** Our own server: TLS 1.3, its key pinned, ours shown; the system's store has no part in it. */
export const serverConnector: ServerConnector = {
  async connect(url, tls, timeoutMs, signal) {
    const sockets: Socket[] = [];
    const close = () => {
      for (const socket of sockets) socket.destroy();
    };
    const settings = { ...tls, minVersion: 'TLSv1.3' } as const;
    const connecting = connectedClient(url, settings, '', sockets, {
      pipelining: 1,
      // Where the server does not tell how long it keeps an idle connection.
      keepAliveTimeout: serverLimits.idleMs,
      keepAliveMaxTimeout: serverLimits.idleMs,
    });
    const client = await bounded(connecting, { place: url.origin, timeoutMs, signal, close });
    return connectionOver(client, url, serverKeyOf(sockets), close);
  },
};

/** Of the connection that `connectedClient` has made: TCP first, TLS over it. */
function serverKeyOf(sockets: readonly Socket[]): KeyObject {
  const certificate = (sockets.at(-1) as TLSSocket).getPeerX509Certificate();
  if (certificate === undefined) throw new AppError('unavailable', 'TLS: expected a certificate');
  return certificate.publicKey;
}

function connectionOver(client: Client, url: URL, serverKey: KeyObject, close: () => void): ServerConnection {
  return {
    serverKey,
    close,
    request({ method, path, json, maxBodyBytes, timeoutMs, signal }) {
      const body = json === undefined ? {} : { body: json, headers: { 'content-type': 'application/json' } };
      const answering = answerOf(client, { method, path, maxBodyBytes, ...body });
      return bounded(answering, { place: url.origin + path, timeoutMs, signal, close });
    },
    stream(path, silenceMs, signal) {
      const place = url.origin + path;
      const opening = openStream(client, { path, silenceMs, signal, host: url.hostname, close });
      return bounded(opening, { place, timeoutMs: silenceMs, signal, close });
    },
  };
}

interface Bounds {
  readonly place: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly close: () => void;
}

/** `work` within its time. What fails ends the connection: a late answer would be taken for the next request's. */
async function bounded<T>(work: Promise<T>, { place, timeoutMs, signal, close }: Bounds): Promise<T> {
  const { promise: ended, reject } = Promise.withResolvers<never>();
  const stop = () => reject(new AppError('stopped', 'stopped'));
  const late = () => reject(new AppError('unavailable', `timed out after ${timeoutMs} ms`));
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  const timer = setTimeout(late, timeoutMs);
  try {
    return await Promise.race([ended, work]);
  } catch (thrown) {
    close();
    throw transportFault(thrown, place).at(place);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

interface StreamOptions {
  readonly path: string;
  readonly silenceMs: number;
  readonly signal: AbortSignal;
  readonly host: string;
  readonly close: () => void;
}

function openStream(client: Client, options: StreamOptions): Promise<ServerStream> {
  const { path, silenceMs, signal, host, close } = options;
  return new Promise((resolve, reject) => {
    const chunks = new PassThrough();
    // Who has stopped reading does not ask why it ended.
    chunks.on('error', () => {});
    const fail = (thrown: unknown) => {
      const fault = transportFault(thrown, host);
      reject(fault);
      chunks.destroy(fault);
      close();
    };
    const silent = () => fail(new AppError('unavailable', `nothing came for ${silenceMs} ms`));
    const stop = () => fail(new AppError('stopped', 'stopped'));
    let timer = setTimeout(silent, silenceMs);
    signal.addEventListener('abort', stop, { once: true });
    chunks.once('close', () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      // A reader that goes away leaves an answer behind that does not end.
      if (!chunks.readableEnded) close();
    });
    client.dispatch(
      { path, method: 'GET', headers: { accept: 'text/event-stream' } },
      {
        onRequestStart() {},
        onResponseStart: (_controller, status) => resolve({ status, chunks }),
        onResponseData(controller, chunk) {
          clearTimeout(timer);
          timer = setTimeout(silent, silenceMs);
          if (chunks.write(chunk)) return;
          controller.pause();
          chunks.once('drain', () => controller.resume());
        },
        onResponseEnd: () => void chunks.end(),
        onResponseError: (_controller, fault) => fail(fault),
      },
    );
  });
}
