import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import type { Alert } from '../api/app.ts';
import { type HeadJson, headToJson, type SignedHead } from '../audit/heads.ts';

/** What a webhook is sent, as JSON. */
export interface AlertJson {
  readonly kind: Alert['kind'];
  /** ISO 8601, UTC. */
  readonly when: string;
  readonly machine: string;
  readonly from: string | null;
  /** Why it was refused, or the machine's own words. */
  readonly text: string | null;
  readonly 'request-id': string;
  /** The newest that was signed; a line of a witness file for `audit verify`. */
  readonly 'audit-head': HeadJson | null;
}

/** @param wallMs when it was told */
export function alertJson(alert: Alert, wallMs: number, head: SignedHead | null): AlertJson {
  const { kind, machine, from, text, requestId } = alert;
  return {
    kind,
    when: new Date(wallMs).toISOString(),
    machine,
    from,
    text,
    'request-id': requestId,
    'audit-head': head === null ? null : headToJson(head),
  };
}

/**
 * The headers that sign a message, as Standard Webhooks 1.0.0 has them: HMAC-SHA256 over `ID.SECONDS.BODY`.
 * @param id the same each time that it is tried
 * @param wallMs now: the receiver refuses what is old
 */
export function signedHeaders(key: KeyObject, id: string, wallMs: number, body: Uint8Array) {
  const seconds = Math.floor(wallMs / 1000);
  const signature = createHmac('sha256', key).update(`${id}.${seconds}.`).update(body).digest('base64');
  return {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': `v1,${signature}`,
  };
}

/**
 * What a webhook's messages are signed with: 24 to 64 bytes in base64, `whsec_` before them or not (ibid.).
 * @returns null when `text` is not that
 */
export function webhookKey(text: string): KeyObject | null {
  const [, base64 = ''] = /^(?:whsec_)?([A-Za-z0-9+/]+={0,2})$/.exec(text.trim()) ?? [];
  const bytes = Buffer.from(base64, 'base64');
  const key = bytes.length < 24 || bytes.length > 64 ? null : createSecretKey(bytes);
  bytes.fill(0);
  return key;
}
