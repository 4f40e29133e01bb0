import { AppError, asAppError, exitStatusOf } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { readFileHeader } from '../journal/file-header.ts';
import { journalPlaces, sealedKeyPath } from '../journal/place.ts';
import { readRecord, recordJson, timeText } from '../journal/record.ts';
import { parseSealedKey } from '../pins/table.ts';
import type { World } from './world.ts';

/** `journal status`. @returns the exit status */
export async function journalStatus(etc: string, json: boolean, world: World): Promise<number> {
  const [notSealing, record, key] = await Promise.all([
    whyNotSealing(world),
    readRecord(etc, world.files),
    sealedKeyAt(sealedKeyPath(etc), world),
  ]);
  const about = record === null ? { 'key-id': null, since: null, verified: null } : recordJson(record);
  if (json) {
    const { path, opensBy, problem } = key;
    const shown = {
      sealing: notSealing === null,
      because: notSealing,
      ...about,
      path,
      'opens-by': opensBy,
      problem,
    };
    world.print(`${JSON.stringify(shown)}\n`);
  } else {
    const verified = record?.verified ?? null;
    const outcome = verified?.isIntact === true ? 'intact' : 'NOT INTACT';
    const lines = [
      `sealing      ${notSealing === null ? 'on' : `off: ${notSealing}`}`,
      `since        ${record === null ? 'never' : timeText(record.sinceMs)}`,
      `key          ${record?.keyId ?? 'none'}`,
      `opens by     ${key.opensBy ?? key.problem}: ${key.path}`,
      `last verify  ${verified === null ? 'never' : `${timeText(verified.atMs)}: ${outcome}`}`,
    ];
    world.print(`${lines.join('\n')}\n`);
  }
  return record !== null && key.problem !== null ? exitStatusOf.damaged : 0;
}

/** @returns null when journald seals what it writes now */
async function whyNotSealing({ files }: World): Promise<string | null> {
  const { active, sealingKey } = await journalPlaces(files);
  if ((await files.mode(active)) === null) return 'the journal is not persistent';
  if ((await files.mode(sealingKey)) === null) return 'there is no sealing key';
  const header = await readFileHeader(active, files);
  return header?.isSealed === true ? null : `${active} is not sealed`;
}

interface KeyThere {
  readonly path: string;
  readonly opensBy: string | null;
  readonly problem: string | null;
}

async function sealedKeyAt(path: string, { files }: World): Promise<KeyThere> {
  try {
    const bytes = await files.read(path, limits.sealedKeyBytes);
    if (bytes === null) throw new AppError('bad-config', 'no such file');
    return { path, opensBy: parseSealedKey(bytes.toString('latin1')).title, problem: null };
  } catch (thrown) {
    return { path, opensBy: null, problem: asAppError(thrown).message };
  }
}
