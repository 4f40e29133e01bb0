import { AppError } from '../base/errors.ts';
import type { Files } from '../base/ports.ts';

/** Where what this program keeps about sealing lies. */
export const sealedKeyPath = (etc: string) => `${etc}/journal/verification-key.jwe`;
export const recordPath = (etc: string) => `${etc}/journal/sealing.json`;

/** Where journald keeps files, and the sealing key (sd-journald-service(8)): below /var/log alone. */
export interface JournalPlaces {
  readonly folder: string;
  readonly sealingKey: string;
  /** What it writes to now. */
  readonly active: string;
}

const MACHINE_ID_BYTES = 64;

/** @throws AppError `bad-config` */
export async function journalPlaces(files: Files): Promise<JournalPlaces> {
  const path = '/etc/machine-id';
  const id = (await files.read(path, MACHINE_ID_BYTES))?.toString('latin1').trim() ?? '';
  if (!/^[0-9a-f]{32}$/.test(id)) {
    throw new AppError('bad-config', `${path}: expected the machine's id, 32 hexadecimal digits`);
  }
  const folder = `/var/log/journal/${id}`;
  return { folder, sealingKey: `${folder}/fss`, active: `${folder}/system.journal` };
}
