import { AppError, asAppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { VolumeName } from '../base/names.ts';
import type { Files } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { loadConfig } from '../config/load.ts';
import { commitmentsPath } from '../handler/committed.ts';
import { type HandlerWorld, keyFor } from '../handler/handle.ts';
import type { Places } from '../handler/locate.ts';
import { tryOnce } from '../handler/patience.ts';
import { verify } from '../handler/verify.ts';
import { commitmentLine, commitTo } from '../luks/commitment.ts';
import { parseSealedKey } from '../pins/table.ts';
import { keyServersOf } from '../remote/key-servers.ts';
import { commitmentLines, type Doing, type EnrolWorld, type Undoing, withCommitment } from './context.ts';
import type { EnrolRecord } from './record.ts';

/**
 * Opens the volume as the handler will at the next boot, with the files that it will find then.
 * @throws AppError what keeps it from opening
 */
export async function prove(context: Doing, signal: AbortSignal): Promise<void> {
  const { record, places, world, crypttab, keyslots } = context;
  const { store, sealedKey } = record;
  const future = new Map([
    [places.crypttab, crypttab.after],
    [commitmentsPath(places.etc, record.volume), withCommitment(await commitmentLines(context), record)],
  ]);
  if (store.kind === 'file') future.set(store.path, Buffer.from(sealedKey));
  const files = withFiles(world.files, future);
  const leftovers: Promise<unknown>[] = [];
  try {
    using opened = await keyFor(record.volume, places, { ...world, files }, signal, leftovers);
    verify(opened.secret, record.volume);
    if (!(await keyslots.opens(opened.secret, signal))) throw notTheKey('the handler', record.device);
    const key = await context.key(signal);
    if (opened.secret.reveal().equals(key.reveal())) return;
    // Another way in was faster: ours has to be tried by itself.
    using own = await openSealed(context, signal);
    if (!own.reveal().equals(key.reveal())) throw notTheKey('the sealed key', record.device);
  } finally {
    await Promise.allSettled(leftovers);
  }
}

/** Opens the sealed key of an enrolment, one try of each pin. @throws AppError what keeps it from opening */
export async function openSealed(
  {
    record,
    places,
    world,
  }: Pick<Undoing, 'places' | 'world'> & { readonly record: Pick<EnrolRecord, 'sealedKey' | 'volume'> },
  signal: AbortSignal,
): Promise<Secret> {
  const servers = await keyServersOf(await loadConfig(world.files, places.etc), world.serverWorld);
  const leftovers: Promise<unknown>[] = [];
  const afterwards = (leftover: Promise<unknown>) => void leftovers.push(leftover);
  try {
    const askPin = world.pinOf(record.volume, 0);
    const context = { ...world, servers, askPin, attempt: tryOnce, afterwards };
    return await parseSealedKey(record.sealedKey).open(context, signal);
  } finally {
    await Promise.allSettled(leftovers);
  }
}

/** The same of one that is enrolled. @throws AppError also `refused`, when it is another key than the one enrolled */
export async function openEnrolled(
  record: EnrolRecord,
  places: Places,
  world: EnrolWorld,
  signal: AbortSignal,
): Promise<Secret> {
  const key = await openSealed({ record, places, world }, signal);
  if (isKeyOf(record, key)) return key;
  key.wipe();
  throw new AppError('refused', `the sealed key of ${record.volume} is not the one that was enrolled`);
}

/** Whether this is the key that was enrolled, and not another that opens the volume. */
export function isKeyOf({ volume, uuid, commitment }: EnrolRecord, key: Secret): boolean {
  return commitmentLine(commitTo(key, volume, uuid)) === commitment;
}

/**
 * What opens the volume now, as the handler finds it, one try of each pin.
 * @returns null when nothing does
 * @throws AppError `stopped`
 */
export async function openNow(
  volume: VolumeName,
  places: Places,
  world: HandlerWorld,
  signal: AbortSignal,
): Promise<Secret | null> {
  const leftovers: Promise<unknown>[] = [];
  try {
    return (await keyFor(volume, places, world, signal, leftovers, () => tryOnce)).secret;
  } catch (thrown) {
    if (asAppError(thrown).code === 'stopped' || asAppError(thrown).code === 'bug') throw thrown;
    return null;
  } finally {
    await Promise.allSettled(leftovers);
  }
}

/**
 * Asks the real socket, as systemd will. Without a socket, or a line in crypttab by which the handler finds the
 * volume, there is nothing to ask.
 * @throws AppError when what comes does not open the volume
 */
export async function askTheSocket(context: Doing, signal: AbortSignal): Promise<void> {
  const { record, world, socket, keyslots } = context;
  if (!(await canAsk(context))) return;
  const hex = world.random.bytes(8).readBigUInt64BE().toString(16);
  const address = Buffer.from(`\0${hex}/cryptsetup/${record.volume}`);
  try {
    using answer = new Secret(await world.askSocket(socket, address, limits.keyBytes));
    if (answer.length > 0 && (await keyslots.opens(answer, signal))) return;
  } catch (thrown) {
    throw asAppError(thrown).at(socket);
  }
  throw new AppError('refused', `${socket}: what it answers does not open ${record.device}`, {
    hint: 'journalctl -t fetch-luks-key says why',
  });
}

/**
 * Whether somebody listens who can find the volume: the last proof is then theirs. Not where a PIN is asked for: a
 * handler asks for it where the machine boots, not at this terminal.
 */
export async function canAsk({
  record,
  world,
  socket,
  crypttab,
}: Pick<Doing, 'record' | 'world' | 'socket' | 'crypttab'>): Promise<boolean> {
  const isKnown = record.crypttab !== null || crypttab.before.equals(crypttab.after);
  return isKnown && !asksForPin(record) && (await world.files.mode(socket)) !== null;
}

/** Whether opening it takes a person. */
export function asksForPin({ sealedKey }: Pick<EnrolRecord, 'sealedKey'>): boolean {
  return parseSealedKey(sealedKey).uses.some(({ withPin = false }) => withPin);
}

/** The same files, but for these, which read as they will. */
function withFiles(files: EnrolWorld['files'], future: ReadonlyMap<string, Buffer>): Files {
  return { ...files, read: async (path, max) => future.get(path) ?? (await files.read(path, max)) };
}

function notTheKey(who: string, device: string): AppError {
  return new AppError('damaged', `what ${who} opens is not a key of ${device}`);
}
