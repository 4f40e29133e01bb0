import type { Socket } from 'node:net';
import { AppError } from '../base/errors.ts';
import type { Http, HttpRequest, HttpResponse } from '../base/ports.ts';
import { answerOf } from './answer.ts';
import { connectedClient } from './connected-client.ts';
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
  // Nothing is kept for a later request (undici's `pipelining: 0`).
  const client = await connectedClient(url, request.tls ?? {}, systemStore, sockets, { pipelining: 0 });
  return answerOf(client, { ...request, path: url.pathname + url.search });
}
