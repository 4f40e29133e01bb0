import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { VolumeName } from '../base/names.ts';
import type { Files } from '../base/ports.ts';
import type { Secret } from '../base/secret.ts';
import { isCommitted, parseCommitments } from '../luks/commitment.ts';

/** Looks at a key that was opened. @throws AppError `refused` when the volume's commitments name others */
export type CheckKey = (key: Secret) => void;

/** Where `enroll` leaves what volumes' keys are known by, a file for each volume. */
export const commitmentsFolder = (etc: string) => `${etc}/commitments`;

export function commitmentsPath(etc: string, volume: VolumeName): string {
  return `${commitmentsFolder(etc)}/${volume}`;
}

/**
 * Of a volume without commitments every key is taken.
 * @param uuid of its LUKS header; null where none could be read
 * @throws AppError `damaged`, `bad-config`
 */
export async function commitmentCheck(
  volume: VolumeName,
  uuid: string | null,
  etc: string,
  files: Files,
): Promise<CheckKey> {
  const path = commitmentsPath(etc, volume);
  const text = await files.read(path, limits.commitmentsBytes);
  if (text === null) return () => {};
  const commitments = parseCommitments(text.toString(), path);
  return (key) => {
    if (isCommitted(commitments, key, volume, uuid)) return;
    throw new AppError('refused', `a key that is not the one that was enrolled (${path})`, {
      hint: 'if you did not make this one, somebody has put another disk in place of yours',
    });
  };
}
