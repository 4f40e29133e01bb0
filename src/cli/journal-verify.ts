import { AppError, asAppError, exitStatusOf } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Secret } from '../base/secret.ts';
import { keyIdOf } from '../journal/keys.ts';
import { journalPlaces, sealedKeyPath } from '../journal/place.ts';
import { readRecord, recordJson, type SealingRecord, timeText, writeRecord } from '../journal/record.ts';
import { type Verdict, verifyJournal } from '../journal/verify.ts';
import { parseSealedKey } from '../pins/table.ts';
import { openOnce } from './opening.ts';
import type { World } from './world.ts';

/** `journal verify`. @param keyId the only one that is taken, if given @returns the exit status */
export async function verifyByKey(
  etc: string,
  keyId: string | undefined,
  json: boolean,
  world: World,
): Promise<number> {
  const record = await readRecord(etc, world.files);
  if (record === null) {
    throw new AppError('bad-config', `${etc}/journal: no keys`, { hint: 'fetch-luks-key journal setup' });
  }
  using key = await openKey(etc, world);
  refuseOther(idOf(key, etc), record, keyId);
  const places = await journalPlaces(world.files);
  const verdicts = await verifyJournal(key, record.sinceMs, places, world, world.signal);
  const broken = verdicts.filter(({ problem }) => problem !== null);
  const isIntact = broken.length === 0;
  const verified = { ...record, verified: { atMs: world.nowUnixMs(), isIntact } };
  writeRecord(etc, verified, world.durable);
  if (json) world.print(`${JSON.stringify({ ...recordJson(verified), files: verdicts.map(asJson) })}\n`);
  else for (const verdict of verdicts) world.print(`${lineOf(verdict)}\n`);
  const count = `${broken.length} of ${verdicts.length} files`;
  const outcome = isIntact ? 'is intact' : `is not what journald wrote: ${count}`;
  world.say(`the journal ${outcome}, by verification key ${record.keyId}`);
  return isIntact ? 0 : exitStatusOf.damaged;
}

async function openKey(etc: string, world: World): Promise<Secret> {
  const path = sealedKeyPath(etc);
  const bytes = await world.files.read(path, limits.sealedKeyBytes);
  if (bytes === null) throw new AppError('bad-config', `${path}: no such file`);
  try {
    return await openOnce(parseSealedKey(bytes.toString('latin1')), path, etc, world);
  } catch (thrown) {
    throw asAppError(thrown).at(path);
  }
}

function idOf(key: Secret, etc: string): string {
  try {
    return keyIdOf(key);
  } catch (thrown) {
    throw asAppError(thrown).at(sealedKeyPath(etc));
  }
}

function refuseOther(id: string, record: SealingRecord, wanted: string | undefined): void {
  const hint = 'somebody has replaced the keys: what they verify proves nothing';
  if (wanted !== undefined && wanted !== id) {
    throw new AppError('damaged', `the verification key: expected ${wanted}, got ${id}`, { hint });
  }
  if (record.keyId !== id) {
    throw new AppError('damaged', `the verification key: expected ${record.keyId} as recorded, got ${id}`, {
      hint,
    });
  }
}

function asJson({ path, isSealed, isSealedToEnd, lastEntryMs, problem }: Verdict) {
  return {
    path,
    sealed: isSealed,
    'sealed-to-end': isSealedToEnd,
    'last-entry': lastEntryMs === 0 ? null : timeText(lastEntryMs),
    problem,
  };
}

function lineOf({ path, isSealed, isSealedToEnd, lastEntryMs, problem }: Verdict): string {
  const until = lastEntryMs === 0 ? 'empty' : `until ${timeText(lastEntryMs)}`;
  if (problem !== null) return `${path}: NOT INTACT: ${problem} (${until})`;
  if (!isSealed) return `${path}: from before there were keys (${until})`;
  return `${path}: intact${isSealedToEnd ? '' : ', its end not sealed'} (${until})`;
}
