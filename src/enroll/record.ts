import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { VolumeName } from '../base/names.ts';
import type { DurableFiles, Files } from '../base/ports.ts';
import type { CrypttabEdit } from '../luks/crypttab-edit.ts';
import type { Policy } from './policy.ts';

/**
 * One sealed key of a volume, and all that undoing it needs to know. It holds no secret: the key is in it only as it was
 * sealed.
 */
export interface EnrolRecord {
  readonly volume: VolumeName;
  /** Absolute path of what holds the LUKS header. */
  readonly device: string;
  /** LUKS UUID. */
  readonly uuid: string;
  /** By which it can be sealed again: what a header says of itself is not authenticated. */
  readonly policy: Policy;
  /** What crypttab is to name as key file. */
  readonly socket: string;
  readonly keyslot: string;
  /** By which the keyslot is known to be the same still; null while it is being made: then its key tells. */
  readonly salt: string | null;
  /** Keyslot and commitment are those of another record, whose key this one seals anew. */
  readonly keyIsKept: boolean;
  /** JWE in compact serialization. */
  readonly sealedKey: string;
  readonly store:
    | { readonly kind: 'token'; readonly id: string }
    /** `before`: the sealed key that it replaces. */
    | { readonly kind: 'file'; readonly path: string; readonly before: string | null }
    /** Made by `clevis luks bind`: neither the token nor its keyslot is ours to remove. */
    | { readonly kind: 'clevis'; readonly id: string }
    /** What opened it before, and has to go: a keyslot, and its token if `systemd-cryptenroll` made it. */
    | { readonly kind: 'replaced'; readonly token: string | null };
  /** NV indices of the counters in the TPM that were made for it; absent in older records. */
  readonly counters?: readonly number[];
  /** Unix time; absent in older records. */
  readonly sealedAtMs?: number;
  /** A line for ETC/commitments/VOLUME. */
  readonly commitment: string;
  /** Those that were not enabled before. */
  readonly units: readonly string[];
  /** null: crypttab stays as it is. */
  readonly crypttab: ({ readonly path: string } & Pick<CrypttabEdit, 'before' | 'after'>) | null;
}

/** Whether undoing it leaves its keyslot alone. */
export function keepsKeyslot({ keyIsKept, store }: EnrolRecord): boolean {
  return keyIsKept || store.kind === 'clevis';
}

/** What has to be done before anything else when whoever wrote it was killed. */
export interface Unfinished {
  readonly undo: EnrolRecord;
  /** What the volume's list is to be after that. */
  readonly enrolled: readonly EnrolRecord[];
}

/** `ETC/enrolled/VOLUME.json`: the sealed keys of a volume that are in use. */
export function enrolledPath(etc: string, volume: VolumeName): string {
  return `${etc}/enrolled/${volume}.json`;
}

/** `ETC/unfinished/VOLUME.json`. */
export function unfinishedPath(etc: string, volume: VolumeName): string {
  return `${etc}/unfinished/${volume}.json`;
}

/** From here on, until `settle`, whoever comes next undoes. @throws AppError `unavailable` */
export function begin(etc: string, unfinished: Unfinished, durable: DurableFiles): void {
  write(unfinishedPath(etc, unfinished.undo.volume), unfinished, durable);
}

/** Nothing is left to be undone, and these are in use. @throws AppError `unavailable` */
export function settle(
  etc: string,
  volume: VolumeName,
  enrolled: readonly EnrolRecord[],
  durable: DurableFiles,
): void {
  const path = enrolledPath(etc, volume);
  if (enrolled.length > 0) write(path, enrolled, durable);
  else if (durable.size(path) !== null) durable.remove(path);
  durable.remove(unfinishedPath(etc, volume));
}

/** The same sealed keys, of which something else is noted. @throws AppError `unavailable` */
export function rewrite(
  etc: string,
  volume: VolumeName,
  enrolled: readonly EnrolRecord[],
  durable: DurableFiles,
): void {
  write(enrolledPath(etc, volume), enrolled, durable);
}

/** @throws AppError `damaged`, `bad-config` */
export async function unfinishedOf(
  etc: string,
  volume: VolumeName,
  files: Files,
): Promise<Unfinished | null> {
  const path = unfinishedPath(etc, volume);
  const unfinished = (await readJson(path, files)) as Unfinished | null;
  if (unfinished === null || unfinished.undo?.volume === volume) return unfinished;
  throw broken(path);
}

/** The sealed keys of a volume that are in use, in the order of their making. @throws AppError `damaged`, `bad-config` */
export async function enrolledOf(etc: string, volume: VolumeName, files: Files): Promise<EnrolRecord[]> {
  const path = enrolledPath(etc, volume);
  const records = ((await readJson(path, files)) ?? []) as EnrolRecord[];
  if (Array.isArray(records) && records.every((one) => one?.volume === volume)) return records;
  throw broken(path);
}

function write(path: string, contents: unknown, durable: DurableFiles): void {
  durable.makeFolder(path.slice(0, path.lastIndexOf('/')));
  durable.replace(path, Buffer.from(`${JSON.stringify(contents)}\n`));
}

/** Written by us in one piece, in a folder that is root's: its form needs no second look. */
async function readJson(path: string, files: Files): Promise<unknown> {
  const bytes = await files.read(path, limits.configBytes);
  if (bytes === null) return null;
  try {
    return JSON.parse(bytes.toString());
  } catch {
    throw broken(path);
  }
}

function broken(path: string): AppError {
  return new AppError('damaged', `${path}: expected what enroll wrote`, {
    hint: 'look with cryptsetup luksDump for a keyslot that nothing names, then remove this file',
  });
}
