import type { IncomingMessage } from 'node:http';

/** Headers that decide where a request ends, whom it is for, or what it means: one each. */
const ONCE = ['host', 'content-length', 'transfer-encoding', 'content-type', 'connection', 'expect'];

/**
 * What could be read one way by us and another way by a proxy before us (RFC 9112 §11.2), beside what Node's strict
 * parser refuses itself: both lengths, folded lines, bare line feeds.
 * @returns null when there is nothing
 */
export function ambiguity(request: IncomingMessage): string | null {
  if (request.httpVersion !== '1.1') return `HTTP/${request.httpVersion}`;
  for (const name of ONCE) {
    // `headers` would show the first of several, or all as one.
    if ((request.headersDistinct[name]?.length ?? 0) > 1) return `several ${name} headers`;
  }
  const { host, expect } = request.headers;
  if (host === undefined) return 'no host header';
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') return 'an expectation';
  const coding = request.headers['transfer-encoding'];
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') return 'a transfer coding beside chunked';
  return null;
}
