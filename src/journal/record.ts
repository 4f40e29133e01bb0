import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { DurableFiles, Files } from '../base/ports.ts';
import { isObject } from '../jwe/compact.ts';
import { recordPath } from './place.ts';

/** What is known without opening the verification key. Whoever is root can write it: it is for people, and proves nothing. */
export interface SealingRecord {
  readonly keyId: string;
  /** Unix time from which on journald's files are sealed. */
  readonly sinceMs: number;
  /** null = never. */
  readonly verified: { readonly atMs: number; readonly isIntact: boolean } | null;
}

/** @returns null when there is none @throws AppError `damaged`, `bad-config` (unreadable) */
export async function readRecord(etc: string, files: Files): Promise<SealingRecord | null> {
  const path = recordPath(etc);
  const bytes = await files.read(path, limits.configBytes);
  if (bytes === null) return null;
  const record = parse(bytes.toString());
  if (record === null) throw new AppError('damaged', `${path}: expected what journal setup wrote`);
  return record;
}

function parse(text: string): SealingRecord | null {
  try {
    const value: unknown = JSON.parse(text);
    if (!isObject(value)) return null;
    const { 'key-id': keyId, since, verified } = value;
    const sinceMs = timeIn(since);
    if (typeof keyId !== 'string' || sinceMs === null) return null;
    if (verified === null) return { keyId, sinceMs, verified };
    const atMs = isObject(verified) ? timeIn(verified['at']) : null;
    if (!isObject(verified) || atMs === null || typeof verified['intact'] !== 'boolean') return null;
    return { keyId, sinceMs, verified: { atMs, isIntact: verified['intact'] } };
  } catch {
    return null;
  }
}

function timeIn(value: unknown): number | null {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? null : ms;
}

/** @throws AppError `unavailable` */
export function writeRecord(etc: string, record: SealingRecord, durable: DurableFiles): void {
  durable.replace(recordPath(etc), Buffer.from(`${JSON.stringify(recordJson(record))}\n`));
}

/** Also what the commands print. */
export function recordJson({ keyId, sinceMs, verified }: SealingRecord) {
  return {
    'key-id': keyId,
    since: timeText(sinceMs),
    verified: verified === null ? null : { at: timeText(verified.atMs), intact: verified.isIntact },
  };
}

export function timeText(ms: number): string {
  return new Date(ms).toISOString();
}
