import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { AlertJson } from '../../src/server/alerts/message.ts';

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly json: AlertJson;
}

export interface WebhookTarget {
  readonly url: URL;
  /** All that came, in order, whatever was answered. */
  readonly received: readonly Received[];
  /** Waits for what `isIt` likes among all that came and comes. */
  until(isIt: (received: readonly Received[]) => boolean): Promise<void>;
}

/**
 * A receiver of webhooks that speaks plain HTTP on 127.0.0.1.
 * @param answer the status of the answer to each message, `hang` for none, or `endless` for a body without end
 */
export async function webhookTarget(
  t: { teardown(action: () => unknown): unknown },
  answer: (message: Received, index: number) => number | 'hang' | 'endless' = () => 204,
): Promise<WebhookTarget> {
  const received: Received[] = [];
  const watchers = new Set<() => void>();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const { url: path = '', headers } = request;
    const message = { path, headers, body, json: JSON.parse(body.toString()) as AlertJson };
    received.push(message);
    const status = answer(message, received.length - 1);
    if (typeof status === 'number') response.writeHead(status).end();
    else if (status === 'endless') response.writeHead(200).write('more to come');
    for (const watcher of watchers) watcher();
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: new URL(`http://127.0.0.1:${port}/hook?for=us`),
    received,
    until(isIt) {
      return new Promise((found) => {
        const look = () => {
          if (!isIt(received)) return;
          watchers.delete(look);
          found();
        };
        watchers.add(look);
        look();
      });
    },
  };
}

/** Whether a message is signed by who has `secret` (base64), as a receiver is to look (Standard Webhooks 1.0.0). */
export function isSignedBy(secret: string, { headers, body }: Pick<Received, 'headers' | 'body'>): boolean {
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  const expected = createHmac('sha256', Buffer.from(secret, 'base64')).update(signed).digest('base64');
  return headers['webhook-signature'] === `v1,${expected}`;
}
