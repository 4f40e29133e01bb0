import { AppError, asAppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import type { ServerConnection } from '../base/server-connection.ts';
import type { ServerSettings } from '../config/server.ts';
import { type Protection, protectionOf } from '../protection/stored.ts';
import { ask, connectTo } from '../remote/key-server.ts';
import type { ServerWorld } from '../remote/server-world.ts';
import { eventData } from '../wire/event-stream.ts';
import * as wire from '../wire/machine.ts';

export type MachineState = 'armed' | 'locked' | 'revoked';

/** A key server, and what it says of this machine. */
export interface ServerStatus {
  readonly name: string;
  /** SHA-256 of the SubjectPublicKeyInfo of each key that it had or has. */
  readonly names: readonly Buffer[];
  readonly url: string;
  readonly identity: {
    readonly path: string;
    /** null: there is no such file, or it cannot be read. */
    readonly protection: Protection | null;
  };
  /** Whether this machine has shown since its boot that it could open a key of this server: then it keeps itself alive. */
  readonly hasProof: boolean;
  /** When a keep-alive has counted last, Unix time; null: none has in this boot, or it is not known. */
  readonly keptAliveAtMs: number | null;
  /** As the server says it; null = not asked, or it did not answer: `fault` says why. */
  readonly state: MachineState | null;
  /** null: no lease runs, or it is not known. */
  readonly leaseLeftMs: number | null;
  /** Its exchange keys that were asked for and that it has. */
  readonly keys: ReadonlySet<string>;
  readonly fault: AppError | null;
}

export interface ServerStatusWorld {
  readonly files: Files;
  readonly serverWorld: ServerWorld;
  lastKeptAliveMs(serverPins: readonly Buffer[]): Promise<number | null>;
}

/**
 * Nothing is released: what is asked for is the machine's state, its lease, and which of its keys the server has.
 * @param kids of sealed keys that need this server
 */
export async function serverStatus(
  name: string,
  settings: ServerSettings,
  kids: readonly string[],
  world: ServerStatusWorld,
  stop: AbortSignal,
): Promise<ServerStatus> {
  const { url, identity: path, keys } = settings;
  const about = {
    name,
    names: keys.names,
    url: url.origin,
    identity: { path, protection: await identityProtection(path, world.files) },
    hasProof: (await world.serverWorld.leftProof(keys.names).catch(() => null)) !== null,
    keptAliveAtMs: await world.lastKeptAliveMs(keys.names).catch(() => null),
  };
  let signal = stop;
  try {
    const identity = await world.serverWorld.identity(path, stop);
    // From here on: a TPM may need some seconds for the identity, which are not the server's.
    signal = AbortSignal.any([stop, AbortSignal.timeout(limits.serverStatusMs)]);
    const connect = () => connectTo(settings, identity, world.serverWorld.connector, signal);
    const state = await stateFrom(await connect(), signal);
    if (state === 'locked' || state === 'revoked') {
      return { ...about, state, leaseLeftMs: null, keys: new Set(), fault: null };
    }
    const leaseLeftMs = await leaseFrom(await connect(), world, signal);
    return { ...about, state, leaseLeftMs, keys: await keysFrom(connect, kids, signal), fault: null };
  } catch (thrown) {
    if (stop.aborted) throw thrown;
    const late = signal.aborted
      ? new AppError('unavailable', `no answer within ${limits.serverStatusMs / 1000} s`)
      : asAppError(thrown);
    return { ...about, state: null, leaseLeftMs: null, keys: new Set(), fault: late };
  }
}

async function identityProtection(path: string, files: Files): Promise<Protection | null> {
  try {
    const bytes = await files.read(path, limits.identityBytes);
    const protection = bytes === null ? null : protectionOf(bytes);
    bytes?.fill(0);
    return protection;
  } catch {
    return null;
  }
}

/** The first event is the state. @returns null when it tells none, and why to whoever asks something else */
async function stateFrom(connection: ServerConnection, signal: AbortSignal): Promise<MachineState | null> {
  try {
    const { status, chunks } = await connection.stream('/v1/watch', limits.serverStatusMs, signal);
    if (status !== 200) return null;
    for await (const data of eventData(chunks)) {
      const told = (JSON.parse(data) as { status?: unknown }).status;
      return told === 'armed' || told === 'locked' || told === 'revoked' ? told : null;
    }
    return null;
  } finally {
    connection.close();
  }
}

/** Without a proof a keep-alive changes nothing for a machine that is armed, and its answer has the lease. */
async function leaseFrom(
  connection: ServerConnection,
  { serverWorld }: ServerStatusWorld,
  signal: AbortSignal,
): Promise<number | null> {
  try {
    const body = { boot: await serverWorld.bootId() };
    const answer = await ask(connection, 'POST', '/v1/keepalive', body, wire.keepalive.response, signal);
    return answer['lease-left-ms'];
  } finally {
    connection.close();
  }
}

/** One connection for each, and a second try: a refusal closes its connection, and may be lost with it. */
async function keysFrom(
  connect: () => Promise<ServerConnection>,
  kids: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const kid of new Set(kids)) {
    const has = () => hasKey(kid, connect, signal);
    if (await has().catch(has)) found.add(kid);
  }
  return found;
}

async function hasKey(
  kid: string,
  connect: () => Promise<ServerConnection>,
  signal: AbortSignal,
): Promise<boolean> {
  const connection = await connect();
  try {
    await ask(connection, 'GET', `/v1/keys/${kid}`, undefined, wire.getKey.response, signal);
    return true;
  } catch (thrown) {
    if (asAppError(thrown).cause === 'unknown') return false;
    throw thrown;
  } finally {
    connection.close();
  }
}
