import { unlessAborted } from '../base/abort.ts';
import { AppError, asAppError, failureLine } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { VolumeName } from '../base/names.ts';
import type { Clock, Connection, Files, Http, Logger, PinAsker, Random } from '../base/ports.ts';
import { type Config, settingsFor } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import type { Credentials } from '../creds/credentials.ts';
import type { Parsec } from '../parsec/parsec.ts';
import { keyServersOf } from '../remote/key-servers.ts';
import type { ServerWorld } from '../remote/server-world.ts';
import type { Tpm } from '../tpm/tpm.ts';
import { type LeaveProof, leaveProofs } from './alive.ts';
import { credentialFor, verifyCredential } from './credential.ts';
import { locate, type Places } from './locate.ts';
import { type OpenedKey, openKey } from './open.ts';
import { keepTrying } from './patience.ts';
import { refuse } from './reply.ts';
import { parseRequest, type Request, refusalFor } from './request.ts';
import { mustBeTrusted, servedOn } from './serves.ts';
import { verify } from './verify.ts';

export interface HandlerWorld {
  readonly clock: Clock;
  readonly random: Random;
  readonly files: Files;
  readonly http: Http;
  readonly tpm: Tpm;
  readonly credentials: Credentials;
  readonly parsec: Parsec;
  readonly journal: Logger;
  readonly serverWorld: ServerWorld;
  readonly leaveProof: LeaveProof;
  readonly pinOf: PinAsker;
}

/**
 * Answers one connection: request → locate → open → verify → reply. The key is whole and authenticated before the
 * first byte leaves; a failure is answered too, and logged in one line.
 * @param placesOf may throw: a wrong command line, too, is no reason to leave a client with 0 bytes
 * @param stop aborts when the process is told to end; its reason is an AppError when that is for a defect
 * @returns the exit status
 */
export async function handle(
  connection: Connection,
  placesOf: () => Places,
  world: HandlerWorld,
  stop: AbortSignal,
): Promise<number> {
  const startMs = world.clock.nowMs();
  const leftovers: Promise<unknown>[] = [];
  const client = watch(connection);
  let subject = 'request';
  let opening: Promise<OpenedKey> | null = null;
  try {
    const request = parseRequest(connection.peerAddress);
    subject = subjectOf(request);
    mustBeTrusted(connection);
    const places = placesOf();
    const signal = AbortSignal.any([stop, client.gone]);
    const config = await unlessAborted(loadConfig(world.files, places.etc), signal);
    const served = servedOn(connection, request, config);
    opening =
      served.kind === 'volume'
        ? volumeKey(served.volume, config, places, world, signal, leftovers)
        : credentialFor(served, config, places.etc, world, signal, leftovers);
    using key = await unlessAborted(opening, signal);
    if (served.kind === 'volume') verify(key.secret, served.volume);
    else verifyCredential(key.secret, served);
    await connection.send(key.secret.reveal(), limits.replyTimeoutMs);
    keepProofs(key, world, subject);
    tell(key, Math.round(world.clock.nowMs() - startMs), world, subject);
    return 0;
  } catch (thrown) {
    const error = decisive(thrown, client.gone, stop);
    // Who was aborted may still be cleaning up, or come with a key after all.
    const dispose = (late: OpenedKey) => late[Symbol.dispose]();
    // Handled at once: one process may serve others, and a rejection that nobody has looked at yet would end it.
    if (opening !== null) leftovers.push(opening.then(dispose, () => {}));
    // A client that is gone, or did not read the key, does not read a refusal either.
    await refuse(connection, refusalFor(connection.peerAddress), world.random).catch(() => {});
    const log = error.exitStatus === 4 ? world.journal.warning : world.journal.error;
    log(`${subject}: ${failureLine(error)}`);
    return error.exitStatus;
  } finally {
    client[Symbol.dispose]();
    const patience = world.clock.sleep(limits.aftermathMs, new AbortController().signal);
    await Promise.race([allSettled(leftovers), patience]);
  }
}

/** Those too that come while others end. */
async function allSettled(leftovers: readonly Promise<unknown>[]): Promise<void> {
  for (let seen = -1; seen !== leftovers.length; ) {
    seen = leftovers.length;
    await Promise.allSettled(leftovers);
  }
}

/**
 * The whole way to a volume's key, before the last look at it.
 * @param leftovers receives what is still cleaning up when the key is there
 * @param patience how long it tries again
 */
export async function keyFor(
  volume: VolumeName,
  places: Places,
  world: HandlerWorld,
  signal: AbortSignal,
  leftovers: Promise<unknown>[],
  patience = keepTrying,
): Promise<OpenedKey> {
  const config = await loadConfig(world.files, places.etc);
  return await volumeKey(volume, config, places, world, signal, leftovers, patience);
}

async function volumeKey(
  volume: VolumeName,
  config: Config,
  places: Places,
  world: HandlerWorld,
  signal: AbortSignal,
  leftovers: Promise<unknown>[],
  patience = keepTrying,
): Promise<OpenedKey> {
  const settings = settingsFor(config, volume);
  const servers = await keyServersOf(config, world.serverWorld);
  const attempt = patience(world.clock, world.random, settings, (leftover) => void leftovers.push(leftover));
  const located = await locate(volume, { ...places, settings, files: world.files, attempt, signal });
  const askPin = world.pinOf(volume, settings.giveUpAfterMs);
  return openKey(located, attempt, { ...world, servers, askPin }, signal, leftovers);
}

/** A pin that fails while others are enough is no failure yet, but may be the one that is needed next time. */
function tell({ openedBy, failures }: OpenedKey, tookMs: number, { journal }: HandlerWorld, subject: string) {
  const delivered = `${subject}: key delivered, opened by ${openedBy} in ${tookMs} ms`;
  if (failures.length === 0) journal.info(delivered);
  else journal.warning(`${delivered}, without ${failures.map(failureLine).join('; ')}`);
}

/** The volume has its key: that a keep-alive will lack its proof is told, and costs nothing else. */
function keepProofs({ secret, uses }: OpenedKey, world: HandlerWorld, subject: string): void {
  try {
    leaveProofs(secret, uses, world.leaveProof);
  } catch (thrown) {
    world.journal.warning(`${subject}: alive proof: ${failureLine(asAppError(thrown))}`);
  }
}

/** What was thrown last is often only the consequence. */
function decisive(thrown: unknown, gone: AbortSignal, stop: AbortSignal): AppError {
  if (stop.reason instanceof AppError) return stop.reason;
  if (gone.aborted) return new AppError('stopped', 'the client went away');
  return stop.aborted ? new AppError('stopped', 'told to stop before the key was there') : asAppError(thrown);
}

function subjectOf(request: Request): string {
  return request.kind === 'credential' ? `${request.unit}/${request.credential}` : request.volume;
}

/** Looks now and then whether the client is still there: its early SHUT_WR hides its close from `net`. */
function watch(connection: Connection): { readonly gone: AbortSignal } & Disposable {
  const gone = new AbortController();
  const timer = setInterval(() => {
    if (connection.isGone()) gone.abort();
  }, limits.clientPollMs);
  return { gone: gone.signal, [Symbol.dispose]: () => clearInterval(timer) };
}
