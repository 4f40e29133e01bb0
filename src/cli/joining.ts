import { AppError, type ErrorCode } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { ServerConnection } from '../base/server-connection.ts';
import type { ServerSettings } from '../config/server.ts';
import type { Identity } from '../identity/identity.ts';
import type { Succession } from '../identity/succession.ts';
import type { ProtectSettings } from '../protection/settings.ts';
import { isProtected, type Protection, protectionOf } from '../protection/stored.ts';
import { readIdentityFile } from '../remote/identity-file.ts';
import { ask } from '../remote/key-server.ts';
import * as wire from '../wire/machine.ts';
import type { Invitation } from './invitation.ts';
import type { World } from './world.ts';

interface Answer {
  /** Of the machine. */
  readonly name: string;
  readonly status: 'armed' | 'locked';
  /** What leads from the server's earlier keys to its present one. */
  readonly chain: readonly Succession[];
}

const UNUSABLE: readonly ErrorCode[] = ['bad-config', 'damaged', 'foreign-tpm'];

/**
 * The key of an attempt to join whose end nobody knows: the server may have taken it, and then takes no other.
 * @returns null when there is none that is protected as it has to be, or opens on this TPM; one that was cut off while it
 *   was written has never been shown to the server
 * @throws AppError `unavailable`, `tool-missing`, `stopped`
 */
export async function leftKey(
  path: string,
  { mode }: ProtectSettings,
  world: World,
): Promise<{ identity: Identity; protection: Protection } | null> {
  const bytes = await world.files.read(path, limits.identityBytes);
  if (bytes === null) return null;
  const protection = protectionOf(bytes);
  if (mode === 'require' && !isProtected(protection)) return null;
  try {
    return { identity: await readIdentityFile(path, world, world.signal), protection };
  } catch (thrown) {
    if (thrown instanceof AppError && UNUSABLE.includes(thrown.code)) return null;
    throw thrown;
  }
}

/**
 * A key that is there is replaced only when that is asked for, and for the same server.
 * @throws AppError `usage`
 */
export function checkKnown(
  server: string,
  known: ServerSettings | undefined,
  { pinSha256 }: Invitation,
  rejoin: boolean,
): void {
  if (known === undefined && !rejoin) return;
  if (known === undefined) throw new AppError('usage', `join: --rejoin: there is no server ${server} here`);
  if (!rejoin) {
    throw new AppError('usage', `join: there is a server ${server} already`, {
      hint: `fetch-luks-key leave ${server}, or give this one another --name; --rejoin if the TPM is another one`,
    });
  }
  if (known.keys.names.some((name) => name.equals(pinSha256))) return;
  throw new AppError('usage', `join: --rejoin: the invitation is of another server than ${server}`);
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
