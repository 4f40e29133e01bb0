import { asAppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Logger } from '../base/ports.ts';
import type { ServerConnection } from '../base/server-connection.ts';
import { ask } from '../remote/key-server.ts';
import * as wire from '../wire/machine.ts';

export type ReportKind = 'acted' | 'audit-head' | 'tpm-protection-unavailable';

/**
 * For a server's log and its operators: a claim, which changes nothing there.
 * @returns whether the server took it; if not, the journal has the reason
 */
export async function report(
  { kind, text }: { readonly kind: ReportKind; readonly text: string },
  connection: ServerConnection,
  { server, journal }: { readonly server: string; readonly journal: Logger },
  signal: AbortSignal,
): Promise<boolean> {
  const soon = AbortSignal.any([signal, AbortSignal.timeout(limits.reportMs)]);
  try {
    await ask(connection, 'POST', '/v1/alerts', { kind, text }, wire.alert.response, soon);
    return true;
  } catch (thrown) {
    journal.warning(`${server}: report: ${asAppError(thrown).message}`);
    return false;
  }
}
