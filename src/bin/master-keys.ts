import { AppError } from '../base/errors.ts';
import { durableFiles } from '../os/durable-files.ts';
import { files } from '../os/files.ts';
import { random } from '../os/random.ts';
import { MasterKey } from '../server/master/master-key.ts';
import type { DatabaseStore } from '../server/store/open.ts';
import { rotateMaster } from '../server/store/rotation.ts';

/** The master keys of this process, and where the present one rests. */
export interface MasterKeys {
  /** The present one first. */
  readonly all: readonly MasterKey[];
  /** null: it came as a credential (systemd.exec(5), LoadCredentialEncrypted=). */
  readonly file: string | null;
}

const NAME = 'master-key';
/** Beside the present one while rows go from one to the other. */
const NEXT = 'master-key-next';

/** @param state folder for a key of our own, which is made where there is none @throws AppError `bad-config`, `unavailable` */
export async function masterKeysFor(state: string): Promise<MasterKeys> {
  const { CREDENTIALS_DIRECTORY: credentials } = process.env;
  const given = credentials === undefined ? null : await keyIn(`${credentials}/${NAME}`);
  if (given !== null) return { all: present(given, await keyIn(`${credentials}/${NEXT}`)), file: null };
  const file = `${state}/${NAME}`;
  const own = (await keyIn(file)) ?? makeKey(file);
  return { all: present(own, await keyIn(`${state}/${NEXT}`)), file };
}

/**
 * Brings every row under another master key. One that was cut off is taken up where it stopped.
 * @returns the new version
 * @throws AppError `refused` when the next key has to be given, and is not; as `rotateMaster`
 */
export async function toNextKey(
  store: DatabaseStore,
  { all, file }: MasterKeys,
  state: string,
): Promise<number> {
  const [, given] = all;
  if (file === null) {
    if (given !== undefined) return await rotateMaster(store, given);
    throw new AppError('refused', `the master key is a credential, and there is no ${NEXT}`, {
      hint: `give every server ${NEXT} beside ${NAME}, and restart them; once it is done, make it the ${NAME}`,
    });
  }
  const isShared = await store.database.snapshot(async ({ dialect }) => dialect === 'postgres');
  if (isShared && given === undefined) {
    throw new AppError('refused', `servers that share a database need the same ${NEXT} beforehand`, {
      hint: `put it beside ${NAME} on every server, mode 0600, and restart them; once it is done, make it the ${NAME} on the others`,
    });
  }
  const path = `${state}/${NEXT}`;
  const next = (await keyIn(path)) ?? makeKey(path);
  const version = await rotateMaster(store, next);
  durableFiles.rename(path, file);
  return version;
}

function present(first: MasterKey, second: MasterKey | null): MasterKey[] {
  return second === null ? [first] : [first, second];
}

async function keyIn(path: string): Promise<MasterKey | null> {
  const text = await files.read(path, 256);
  return text === null ? null : new MasterKey(Buffer.from(text.toString('latin1').trim(), 'base64url'));
}

function makeKey(path: string): MasterKey {
  const bytes = random.bytes(32);
  durableFiles.create(`${path}.new`);
  durableFiles.append(`${path}.new`, [bytes.toString('base64url')]);
  durableFiles.rename(`${path}.new`, path);
  return new MasterKey(bytes);
}
