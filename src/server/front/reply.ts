import type { HttpReply } from '../../base/http-service.ts';
import { eventText } from '../../wire/event-stream.ts';
import type { Outgoing } from '../api/serve.ts';

export function replyOf(outgoing: Outgoing, close: boolean): HttpReply {
  const { status } = outgoing;
  if ('events' in outgoing) {
    return { status, headers: headersFor('text/event-stream'), body: texts(outgoing.events), close };
  }
  return jsonReply(status, outgoing.json, close, outgoing.type);
}

export function jsonReply(
  status: number,
  json: unknown,
  close: boolean,
  type = 'application/json',
): HttpReply {
  return {
    status,
    headers: headersFor(type),
    body: Buffer.from(`${JSON.stringify(json)}\n`),
    close,
  };
}

/** Nothing of this is for a cache (RFC 9111 §5.2.2.5). */
function headersFor(type: string): Readonly<Record<string, string>> {
  return { 'content-type': type, 'cache-control': 'no-store' };
}

async function* texts(events: AsyncIterable<unknown>): AsyncGenerator<string> {
  for await (const event of events) yield eventText(event);
}
