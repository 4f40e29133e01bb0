import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import { eventsOf, type MeasuredEvent, parseEventLog, replay } from './event-log.ts';
import { eventName } from './event-names.ts';
import { type HashName, hashes } from './pcrs.ts';
import type { PcrBinding } from './read-pcrs.ts';

export const EVENT_LOG = '/sys/kernel/security/tpm0/binary_bios_measurements';

/** Of each event's digest: enough to tell apart those of one machine, and little to keep. */
export const MARK_BYTES = 4;

/** By PCR: the beginnings of what it was extended with, one after the other. */
export type Marks = ReadonlyMap<number, Buffer>;

/** The log, if there is one that can be read: only root may. @returns null when not */
export async function readEventLog(files: Pick<Files, 'read'>): Promise<MeasuredEvent[] | null> {
  try {
    const log = await files.read(EVENT_LOG, limits.eventLogBytes);
    return log === null ? null : parseEventLog(log);
  } catch (thrown) {
    if (thrown instanceof AppError) return null;
    throw thrown;
  }
}

/** What tells later which event changed. Only of PCRs whose values the log accounts for, and few enough to keep. */
export function marksOf(events: readonly MeasuredEvent[], { selection, values }: PcrBinding): Marks {
  const { bank, ids } = selection;
  const marks = new Map<number, Buffer>();
  if (values === null) return marks;
  let left: number = limits.eventMarks;
  for (const [index, pcr] of ids.entries()) {
    const digests = eventsOf(events, pcr, bank).map(({ digest }) => digest.subarray(0, MARK_BYTES));
    if (digests.length > left || !accountsFor(events, pcr, bank, nth(values, index, bank))) continue;
    left -= digests.length;
    marks.set(pcr, Buffer.concat(digests));
  }
  return marks;
}

export function accountsFor(
  events: readonly MeasuredEvent[],
  pcr: number,
  bank: HashName,
  value: Buffer,
): boolean {
  return replay(events, pcr, bank).equals(value);
}

/** The value of the selection's PCR at `index`. */
export function nth(values: Buffer, index: number, bank: HashName): Buffer {
  const { bytes } = hashes[bank];
  return values.subarray(index * bytes, (index + 1) * bytes);
}

export interface EventChange {
  readonly what: 'changed' | 'new' | 'gone';
  /** Counted from 1: among the PCR's events of now, or of then for one that is gone. */
  readonly number: number;
  /** null: it is gone, and only a part of its digest was kept. */
  readonly name: string | null;
}

/**
 * How the PCR's events of now differ from those of then: the fewest events that are new or gone. One that is gone and
 * one that is new in the same place are one that changed.
 * @param then marks of one PCR
 */
export function changesSince(
  then: Buffer,
  events: readonly MeasuredEvent[],
  pcr: number,
  bank: HashName,
): EventChange[] {
  const old = Array.from({ length: then.length / MARK_BYTES }, (_, index) =>
    then.toString('hex', index * MARK_BYTES, (index + 1) * MARK_BYTES),
  );
  const now = eventsOf(events, pcr, bank);
  const marks = now.map(({ digest }) => digest.toString('hex', 0, MARK_BYTES));
  const common = commonLengths(old, marks);
  const changes: EventChange[] = [];
  let gone: number[] = [];
  const settleGone = () => {
    changes.push(...gone.map((number) => ({ what: 'gone', number, name: null }) as const));
    gone = [];
  };
  let [i, j] = [0, 0];
  while (i < old.length || j < marks.length) {
    if (i < old.length && j < marks.length && old[i] === marks[j]) {
      settleGone();
      i++;
      j++;
    } else if (i < old.length && lengthAt(common, i + 1, j) >= lengthAt(common, i, j + 1)) {
      gone.push(++i);
    } else {
      const event = now[j++];
      const what = gone.shift() === undefined ? 'new' : 'changed';
      if (event !== undefined) changes.push({ what, number: j, name: eventName(event) });
    }
  }
  settleGone();
  return changes;
}

/** Lengths of the longest common subsequences of what begins at i in one and at j in the other. */
function commonLengths(old: readonly string[], now: readonly string[]): number[][] {
  const lengths = Array.from({ length: old.length + 1 }, () => new Array<number>(now.length + 1).fill(0));
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = now.length - 1; j >= 0; j--) {
      const row = lengths[i];
      if (row === undefined) continue;
      row[j] =
        old[i] === now[j]
          ? 1 + lengthAt(lengths, i + 1, j + 1)
          : Math.max(lengthAt(lengths, i + 1, j), lengthAt(lengths, i, j + 1));
    }
  }
  return lengths;
}

/** Beyond the end of one there is nothing in common. */
function lengthAt(lengths: readonly (readonly number[])[], i: number, j: number): number {
  return lengths[i]?.[j] ?? -1;
}
