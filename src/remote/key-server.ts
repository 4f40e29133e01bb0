import { type GenericSchema, safeParse } from 'valibot';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { HttpResponse, TlsSettings } from '../base/ports.ts';
import type { ServerConnection, ServerConnector } from '../base/server-connection.ts';
import type { ServerSettings } from '../config/server.ts';
import type { KeyServer } from '../pins/pin.ts';
import * as wire from '../wire/machine.ts';
import { type RefusalCode, refusal } from '../wire/refusal.ts';
import type { ServerWorld } from './server-world.ts';

/** A server by its settings: each request on a connection of its own, which ends with it. */
export function keyServer(name: string, settings: ServerSettings, world: ServerWorld): KeyServer {
  const withConnection = async <T>(
    signal: AbortSignal,
    work: (connection: ServerConnection, boot: string) => Promise<T>,
  ): Promise<T> => {
    const [identity, boot] = await Promise.all([world.identity(settings.identity, signal), world.bootId()]);
    const connection = await connectTo(settings, identity, world.connector, signal);
    try {
      return await work(connection, boot);
    } finally {
      connection.close();
    }
  };
  return {
    name,
    pinSha256: settings.pinSha256,
    names: settings.keys.names,
    createKey: (crv, alive, signal) =>
      withConnection(signal, async (connection, boot) => {
        const proof = await world.leftProof(settings.keys.names);
        const body = { crv, alive, boot, ...(proof === null ? {} : { proof }) };
        return await ask(connection, 'POST', '/v1/keys', body, wire.createKey.response, signal);
      }),
    recover: (kid, point, signal) =>
      withConnection(signal, async (connection, boot) => {
        const path = `/v1/keys/${kid}/recover`;
        const answer = await ask(connection, 'POST', path, { point, boot }, wire.recover.response, signal);
        return answer.point;
      }),
    deleteKey: (kid, signal) =>
      withConnection(signal, async (connection) => {
        await ask(connection, 'DELETE', `/v1/keys/${kid}`, undefined, wire.deleteKey.response, signal);
      }),
  };
}

/** To whoever has one of the server's keys, and nobody else. */
export function connectTo(
  { url, keys }: Pick<ServerSettings, 'url' | 'keys'>,
  identity: Pick<TlsSettings, 'clientCertificate' | 'clientKey'>,
  connector: ServerConnector,
  signal: AbortSignal,
): Promise<ServerConnection> {
  return connector.connect(url, { ...identity, pinsSha256: keys.accepted }, limits.httpTimeoutMs, signal);
}

/**
 * One request and its answer as JSON.
 * @throws AppError `refused` (for good), `waiting` (until an operator acts), `unavailable`, `stopped`
 */
export async function ask<T>(
  connection: ServerConnection,
  method: string,
  path: string,
  body: unknown,
  schema: GenericSchema<unknown, T>,
  signal: AbortSignal,
): Promise<T> {
  const response = await connection.request({
    method,
    path,
    ...(body === undefined ? {} : { json: Buffer.from(JSON.stringify(body)) }),
    maxBodyBytes: limits.serverAnswerBytes,
    timeoutMs: limits.httpTimeoutMs,
    signal,
  });
  if (response.status !== 200) throw refusalIn(response);
  const result = safeParse(schema, json(response));
  if (result.success) return result.output;
  throw new AppError('unavailable', `${method} ${path}: the answer is not what was expected`);
}

/** What the server's codes mean for whoever waits for a key (docs/PROTOCOL.md). */
const meanings: Readonly<Record<RefusalCode, ['refused' | 'waiting' | 'unavailable', string, string?]>> = {
  locked: ['waiting', 'this machine is locked', 'on the server: luks-key-server allow NAME'],
  'approval-pending': [
    'waiting',
    'an operator has to approve this',
    'on the server: luks-key-server approve NAME ID',
  ],
  'not-allowed-from': ['waiting', 'this machine may not ask from this address'],
  'count-used': [
    'waiting',
    'this key was given in this boot already',
    'on the server: luks-key-server allow NAME',
  ],
  revoked: ['refused', 'this machine is revoked', 'its keys are gone: open the volume with another key'],
  unknown: ['refused', 'the server does not know this machine, or not this key', 'join again, seal again'],
  'bad-request': ['refused', 'the server does not understand this program', 'are their versions far apart?'],
  'too-many': ['unavailable', 'the server has too many requests'],
  unavailable: ['unavailable', 'the server cannot answer now'],
};

function refusalIn(response: HttpResponse): AppError {
  const result = safeParse(refusal, json(response));
  if (!result.success) return new AppError('unavailable', `answered ${response.status}`);
  const { code, 'request-id': id } = result.output;
  const [outcome, message, hint] = meanings[code];
  // Its cause is the server's own code.
  return new AppError(outcome, `${message} (request ${id})`, { hint, cause: code });
}

function json({ body }: HttpResponse): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}
