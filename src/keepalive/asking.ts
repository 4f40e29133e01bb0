import { AppError } from '../base/errors.ts';
import type { ServerConnection } from '../base/server-connection.ts';
import { ask } from '../remote/key-server.ts';
import * as wire from '../wire/machine.ts';
import type { Verdict } from './world.ts';

/** @returns SHA-256 of each record after `after` @throws AppError as `ask` */
export async function auditDigests(
  after: number,
  connection: ServerConnection,
  signal: AbortSignal,
): Promise<readonly Buffer[]> {
  const { response } = wire.auditDigests;
  const asking = ask(connection, 'POST', '/v1/audit/digests', { after }, response, signal);
  const { digests } = await asking.catch((thrown: unknown) => {
    // Else a server could keep the alert away by refusing.
    if (thrown instanceof AppError && thrown.code === 'refused' && verdictIn(thrown) === null)
      return { digests: [] };
    throw thrown;
  });
  return digests.map((digest) => Buffer.from(digest, 'base64url'));
}

/** What the server itself, who proved its key, has refused a request with. */
export function verdictIn(thrown: unknown): Verdict | null {
  const cause = thrown instanceof AppError ? thrown.cause : null;
  return cause === 'locked' || cause === 'revoked' ? cause : null;
}
