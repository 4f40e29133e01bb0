import { connect, type Socket } from 'node:net';
import type { buildConnector, Client } from 'undici';
import { AppError } from '../base/errors.ts';
import type { Http, HttpRequest, HttpResponse } from '../base/ports.ts';
import { closedEarly, established } from './established.ts';
import { lookUp } from './names.ts';
import { transportFault } from './transport-fault.ts';

/** Debian's ca-certificates: what the machine's administrator trusts, unlike the roots that Node brings along. */
const SYSTEM_STORE = '/etc/ssl/certs/ca-certificates.crt';

export const http: Http = httpTrusting(SYSTEM_STORE);

/** @param systemStore PEM file of the authorities that are trusted where a request names none */
export function httpTrusting(systemStore: string): Http {
  return { request: (request) => bounded(request, systemStore) };
}

/** The whole exchange within its time, and every socket gone on every way out. */
async function bounded(request: HttpRequest, systemStore: string): Promise<HttpResponse> {
  const place = request.url.origin + request.url.pathname;
  if (request.signal.aborted) throw new AppError('stopped', `${place}: stopped`);
  const { promise: ended, reject } = Promise.withResolvers<never>();
  const stop = () => reject(new AppError('stopped', 'stopped'));
  request.signal.addEventListener('abort', stop, { once: true });
  const timer = setTimeout(
    () => reject(new AppError('unavailable', `timed out after ${request.timeoutMs} ms`)),
    request.timeoutMs,
  );
  const sockets: Socket[] = [];
  try {
    return await Promise.race([ended, exchange(request, systemStore, sockets)]);
  } catch (thrown) {
    const fault = transportFault(thrown, request.url.hostname);
    // Not the query: it may carry a token.
    throw new AppError(fault.code, `${place}: ${fault.message}`, {
      ...(fault.hint === undefined ? {} : { hint: fault.hint }),
      cause: fault.cause,
    });
  } finally {
    clearTimeout(timer);
    request.signal.removeEventListener('abort', stop);
    for (const socket of sockets) socket.destroy();
  }
}

async function exchange(request: HttpRequest, systemStore: string, sockets: Socket[]): Promise<HttpResponse> {
  const { url } = request;
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const secure = url.protocol === 'https:';
  const tls = secure ? (await import('./tls.ts')).tlsClient(request.tls ?? {}, systemStore) : null;
  const port = Number(url.port) || (secure ? 443 : 80);
  const transport = connect({ host, port, noDelay: true, lookup: lookUp });
  sockets.push(transport);
  const connected = established(transport, 'connect');
  // Loaded while the kernel connects.
  const [undici] = await Promise.all([import('undici/lib/dispatcher/client.js'), connected]);
  if (transport.destroyed) throw closedEarly();
  const socket = tls === null ? transport : await tls.secure(transport, host);
  sockets.push(socket);
  const client = new undici.default(url.origin, {
    connect: handOver(socket),
    pipelining: 0,
    // `bounded` has the time.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  return answerOf(client, request);
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

/** Sends the request; reads the whole answer, or as much as it may have. */
function answerOf(client: Client, request: HttpRequest): Promise<HttpResponse> {
  const { url, method, headers, body, maxBodyBytes } = request;
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let status = 0;
    let size = 0;
    const fail = (fault: unknown) => {
      joined(chunks).fill(0);
      reject(fault);
    };
    client.dispatch(
      { path: url.pathname + url.search, method, headers: { ...headers }, body: body ?? null },
      {
        onRequestStart() {},
        onResponseStart(controller, code, answered) {
          status = code;
          // A body that ends with the connection may be a part of itself (RFC 9112 §8).
          const chunked = /\bchunked$/i.test(String(answered['transfer-encoding']));
          if (code === 200 && !chunked && answered['content-length'] === undefined) {
            controller.abort(new AppError('unavailable', 'the answer does not tell its length'));
          }
          // Nobody asked for one, and what is decoded is not what the key's owner put there.
          const encoding = answered['content-encoding'];
          if (encoding !== undefined && encoding !== 'identity') {
            controller.abort(new AppError('unavailable', `answered with content encoding ${encoding}`));
          }
        },
        onResponseData(controller, chunk) {
          chunks.push(chunk);
          size += chunk.length;
          if (size > maxBodyBytes) {
            controller.abort(new AppError('unavailable', `answered more than ${maxBodyBytes} bytes`));
          }
        },
        onResponseEnd: () => resolve({ status, body: joined(chunks) }),
        onResponseError: (_controller, fault) => fail(fault),
      },
    );
  });
}

/** The chunks in one buffer outside Node's shared pool; they themselves are wiped. */
function joined(chunks: readonly Buffer[]): Buffer {
  const whole = Buffer.allocUnsafeSlow(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
    chunk.fill(0);
  }
  return whole;
}
