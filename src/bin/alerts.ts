import { AppError } from '../base/errors.ts';
import { serverLimits } from '../base/server-limits.ts';
import type { WebhookSettings } from '../config/key-server.ts';
import { clock } from '../os/clock.ts';
import { http } from '../os/http.ts';
import { journal } from '../os/journal.ts';
import { fieldJournal } from '../os/journal-fields.ts';
import { random } from '../os/random.ts';
import { webhookKey } from '../server/alerts/message.ts';
import { Webhook } from '../server/alerts/webhook.ts';
import type { Alert, App } from '../server/api/app.ts';
import { givenSecret } from './given-files.ts';

export interface Alerts {
  /** To the journal, and to every webhook. Never throws, never waits. */
  tell(alert: Alert): void;
  /** In the order of the configuration. */
  readonly webhooks: readonly Webhook[];
  /** Webhooks that are under way are given up. */
  stop(): Promise<void>;
}

/** @throws AppError `bad-config`: a secret that is not there, not one, or everybody's */
export async function startAlerts(
  settings: readonly WebhookSettings[],
  latestHead: App['latestHead'],
): Promise<Alerts> {
  const world = { http, clock, wallMs: Date.now, random, log: journal, latestHead };
  const webhooks: Webhook[] = [];
  for (const { url, secret } of settings) {
    const key = webhookKey((await givenSecret(secret, serverLimits.webhookSecretBytes)).toString('latin1'));
    if (key === null) {
      throw new AppError('bad-config', `${secret}: expected 24 to 64 bytes in base64`, {
        hint: 'made by: openssl rand -base64 32',
      });
    }
    webhooks.push(new Webhook({ url, key }, world));
  }
  const end = new AbortController();
  const running = Promise.all(webhooks.map((webhook) => webhook.run(end.signal)));
  const lines = fieldJournal(process.env, 'luks-key-server');
  return {
    webhooks,
    tell(alert) {
      lines.warning(lineOf(alert), fieldsOf(alert));
      for (const webhook of webhooks) webhook.push(alert);
    },
    async stop() {
      end.abort();
      await running;
    },
  };
}

function lineOf({ kind, machine, from, requestId, text }: Alert): string {
  const where = from === null ? [] : [`from ${from}`];
  const words = text === null ? [] : [text];
  return [`alert ${kind}: ${machine}`, ...where, ...words, `[${requestId}]`].join(' ');
}

function fieldsOf({ kind, machine, from, requestId }: Alert): Record<string, string> {
  const where = from === null ? {} : { LUKS_FROM: from };
  return { LUKS_ALERT: kind, LUKS_MACHINE: machine, LUKS_REQUEST_ID: requestId, ...where };
}
