import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { ServerConnection } from '../base/server-connection.ts';
import type { Identity } from '../identity/identity.ts';
import type { Succession } from '../identity/succession.ts';
import { isPlain, readIdentityFile } from '../remote/identity-file.ts';
import { ask } from '../remote/key-server.ts';
import * as wire from '../wire/machine.ts';
import type { World } from './world.ts';

interface Answer {
  /** Of the machine. */
  readonly name: string;
  readonly status: 'armed' | 'locked';
  /** What leads from the server's earlier keys to its present one. */
  readonly chain: readonly Succession[];
}

/**
 * The key of an attempt to join whose end nobody knows: the server may have taken it, and then takes no other.
 * @returns null when there is none; one that was cut off while it was written has never been shown to the server
 * @throws AppError `unavailable`, `tool-missing`, `stopped`
 */
export async function leftKey(
  path: string,
  world: World,
): Promise<{ identity: Identity; byTpm: boolean } | null> {
  const bytes = await world.files.read(path, limits.identityBytes);
  if (bytes === null) return null;
  try {
    return { identity: await readIdentityFile(path, world, world.signal), byTpm: !isPlain(bytes) };
  } catch (thrown) {
    if (thrown instanceof AppError && thrown.code === 'bad-config') return null;
    throw thrown;
  }
}

/**
 * Uses the invitation up.
 * @throws AppError `refused` when the server does not take it, nor tells why; `unavailable`, `stopped`
 */
export async function askToJoin(
  invitation: string,
  connection: ServerConnection,
  signal: AbortSignal,
): Promise<Answer> {
  try {
    return await ask(connection, 'POST', '/v1/join', { invitation }, wire.join.response, signal);
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'refused') throw thrown;
    throw new AppError('refused', 'the server does not take this invitation', {
      cause: thrown,
      hint: 'it is good once, for one hour: ask for another one',
    });
  }
}

/**
 * What an earlier attempt has come to, whose answer was lost: a machine's keep-alive is answered.
 * @param name of the machine
 * @returns null when the server does not know this key, or has revoked it
 * @throws AppError `unavailable`, `stopped`
 */
export async function alreadyJoined(
  name: string,
  connection: ServerConnection,
  { serverWorld, signal }: World,
): Promise<Answer | null> {
  const boot = await serverWorld.bootId();
  const { keepalive, identity } = wire;
  try {
    const { chain } = await ask(connection, 'GET', '/v1/identity', undefined, identity.response, signal);
    const asking = ask(connection, 'POST', '/v1/keepalive', { boot }, keepalive.response, signal);
    const status = await asking.then(
      () => 'armed' as const,
      (thrown) => {
        if (thrown instanceof AppError && thrown.code === 'waiting') return 'locked' as const;
        throw thrown;
      },
    );
    return { name, status, chain };
  } catch (thrown) {
    if (thrown instanceof AppError && thrown.code === 'refused') return null;
    throw thrown;
  }
}
