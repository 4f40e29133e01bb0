import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { VolumeName } from '../base/names.ts';
import type { Files } from '../base/ports.ts';
import { type CrypttabEntry, headerPath, parseCrypttab } from '../luks/crypttab.ts';
import { readLuksHeader } from '../luks/header.ts';
import { luks2Of } from '../luks/keyslots.ts';
import type { Metadata } from '../luks/metadata.ts';

/** The volume as it is before anything is changed. */
export interface Target {
  readonly volume: VolumeName;
  /** Absolute path of what holds the LUKS2 header: device, image, or the file that `header=` names. */
  readonly device: string;
  readonly uuid: string;
  readonly metadata: Metadata;
  /** All of crypttab; empty when there is none. */
  readonly crypttab: Buffer;
  /** Its line there. */
  readonly entry: CrypttabEntry | null;
}

/**
 * Finds the volume's device by its line in crypttab, or by `device` when it has none, and reads its LUKS2 header.
 * @param crypttab path
 * @param device absolute path; null = what crypttab says
 * @throws AppError `usage` (no line and no device, or another device than the line's); `bad-config` (not LUKS, LUKS1,
 *   crypttab); `refused` (null cipher); `damaged`; `unavailable` (no such device, unreadable)
 */
export async function findTarget(
  volume: VolumeName,
  crypttab: string,
  device: string | null,
  files: Files,
): Promise<Target> {
  const bytes = (await files.read(crypttab, limits.configBytes)) ?? Buffer.alloc(0);
  const entry = parseCrypttab(bytes.toString()).entries.find((one) => one.volume === volume) ?? null;
  const path = entry === null ? device : headerPath(entry, crypttab);
  if (path === null) {
    throw new AppError('usage', `enroll: ${crypttab} has no line for ${volume}`, {
      hint: 'name its device with --device, and a line is added',
    });
  }
  const { uuid, metadata } = luks2Of(await readLuksHeader(files, path), path);
  if (device !== null && device !== path) {
    const other = luks2Of(await readLuksHeader(files, device), device);
    if (other.uuid !== uuid) {
      throw new AppError(
        'usage',
        `enroll: --device: ${crypttab} names ${path} for ${volume}, which is another`,
        {
          hint: 'leave --device out, or change that line first',
        },
      );
    }
  }
  const lasting = entry === null ? await lastingName(path, uuid, files) : path;
  return { volume, device: lasting, uuid, metadata, crypttab: bytes, entry };
}

/** A disk may get another name at each boot; by its UUID udev finds it again. */
async function lastingName(path: string, uuid: string, files: Files): Promise<string> {
  const byUuid = `/dev/disk/by-uuid/${uuid}`;
  return path.startsWith('/dev/') && (await files.mode(byUuid)) !== null ? byUuid : path;
}
