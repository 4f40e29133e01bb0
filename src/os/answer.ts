import type { Client } from 'undici';
import { AppError } from '../base/errors.ts';
import type { HttpRequest, HttpResponse } from '../base/ports.ts';
import { printable } from '../base/printable.ts';

/** One request on a connection. */
export interface ClientRequest extends Pick<HttpRequest, 'headers' | 'body' | 'maxBodyBytes'> {
  readonly method: string;
  /** With its query. */
  readonly path: string;
}

/** Sends the request; reads the whole answer, or as much as it may have. */
export function answerOf(client: Client, request: ClientRequest): Promise<HttpResponse> {
  const { path, method, headers, body, maxBodyBytes } = request;
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let status = 0;
    let size = 0;
    const fail = (fault: unknown) => {
      joined(chunks).fill(0);
      reject(fault);
    };
    client.dispatch(
      { path, method, headers: { ...headers }, body: body ?? null },
      {
        onRequestStart() {},
        onResponseStart(controller, code, answered) {
          status = code;
          // Before it there may be others, which are no answer (RFC 9110 §15.2).
          if (maxBodyBytes === null && code >= 200) {
            resolve({ status, body: Buffer.alloc(0) });
            controller.abort(new AppError('stopped', 'the status is known'));
            return;
          }
          // A body that ends with the connection may be a part of itself (RFC 9112 §8).
          const chunked = /\bchunked$/i.test(String(answered['transfer-encoding']));
          if (code === 200 && !chunked && answered['content-length'] === undefined) {
            controller.abort(new AppError('unavailable', 'the answer does not tell its length'));
          }
          // Nobody asked for one, and what is decoded is not what the key's owner put there.
          const encoding = answered['content-encoding'];
          if (encoding !== undefined && encoding !== 'identity') {
            controller.abort(
              new AppError('unavailable', `answered with content encoding ${printable(String(encoding))}`),
            );
          }
        },
        onResponseData(controller, chunk) {
          chunks.push(chunk);
          size += chunk.length;
          if (maxBodyBytes !== null && size > maxBodyBytes) {
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
