import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { commitmentsPath } from '../handler/committed.ts';
import { parseCrypttab } from '../luks/crypttab.ts';
import { withoutEdit } from '../luks/crypttab-edit.ts';
import { commitmentLines, type Doing, type EnrolStep, withCommitment } from './context.ts';
import { reload, systemdRuns } from './units.ts';

export const storeFile: EnrolStep = {
  title: 'storing the sealed key in its file',
  async do(context) {
    const { store, sealedKey } = context.record;
    if (store.kind !== 'file') return;
    // Where other keys are committed to, this one opens nothing before it is too; where none is, the one that the file
    // holds until now opens nothing once this one is.
    if ((await commitmentLines(context)).length > 0) await commit(context);
    const { durable } = context.world;
    durable.makeFolder(folderOf(store.path));
    durable.replace(store.path, Buffer.from(sealedKey));
  },
  async undo({ record: { store, sealedKey }, world }) {
    if (store.kind !== 'file') return;
    const now = await world.files.read(store.path, limits.sealedKeyBytes);
    if (now?.toString('latin1') !== sealedKey) return;
    if (store.before === null) world.durable.remove(store.path);
    else world.durable.replace(store.path, Buffer.from(store.before, 'latin1'));
  },
};

export const leaveCommitment: EnrolStep = {
  title: 'leaving the commitment',
  do: commit,
  async undo(context) {
    const { record, places, world } = context;
    if (record.keyIsKept) return;
    const path = commitmentsPath(places.etc, record.volume);
    const lines = await commitmentLines(context);
    const others = lines.filter((line) => line !== record.commitment);
    if (others.length === lines.length) return;
    if (others.length === 0) world.durable.remove(path);
    else world.durable.replace(path, Buffer.from(`${others.join('\n')}\n`));
  },
};

async function commit(context: Doing): Promise<void> {
  const { record, places, world } = context;
  const path = commitmentsPath(places.etc, record.volume);
  world.durable.makeFolder(folderOf(path));
  world.durable.replace(path, withCommitment(await commitmentLines(context), record));
}

export const editCrypttab: EnrolStep = {
  title: 'editing crypttab',
  async do({ record, world, crypttab }, signal) {
    if (record.crypttab === null) return;
    const { path } = record.crypttab;
    const now = await world.files.read(path, limits.configBytes);
    if (now !== null && !now.equals(crypttab.before)) {
      throw new AppError('unavailable', `${path}: somebody else has just changed it`, { hint: 'try again' });
    }
    if (now !== null) world.durable.replace(backupPath(path), now);
    world.durable.replace(path, crypttab.after);
    if (await systemdRuns(world)) await reload(world, signal);
  },
  async undo({ record, world }, signal) {
    if (record.crypttab === null) return;
    const { path } = record.crypttab;
    const now = await world.files.read(path, limits.configBytes);
    const before = now === null ? null : withoutEdit(now, record.crypttab);
    if (before === null) {
      const { entries } = parseCrypttab(now?.toString() ?? '');
      const entry = entries.find(({ volume }) => volume === record.volume);
      const isOurs = entry?.keyFile === record.socket;
      if (isOurs) world.say(`note: ${path}:${entry.line}: changed since, so it goes on naming the socket`);
      return;
    }
    world.durable.replace(path, before);
    if (await systemdRuns(world)) await reload(world, signal);
  },
};

/** Where crypttab is kept as it was before the last enrolment. */
export function backupPath(crypttab: string): string {
  return `${crypttab}.before-enroll`;
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
