import { HarnessError } from './command.ts';

/** Seconds since boot, as the journal's lines start with them: `[   12.345678] host program[1]: …` */
const STAMP = /^\[\s*(\d+\.\d+)\]/;

/** The first line that matches; null when none does. */
export function lineOf(journal: string, wanted: RegExp): string | null {
  return journal.split('\n').find((line) => wanted.test(line)) ?? null;
}

/**
 * When the first matching line was written, in seconds since the (host's) boot; Infinity when none matches.
 * @throws HarnessError when such a line has no time stamp
 */
export function timeOf(journal: string, wanted: RegExp): number {
  const line = lineOf(journal, wanted);
  if (line === null) return Number.POSITIVE_INFINITY;
  const stamp = STAMP.exec(line)?.[1];
  if (stamp === undefined) throw new HarnessError('reading the journal', `no time stamp in: ${line}`);
  return Number(stamp);
}

/** Whether both lines are there, in this order. The journal is sorted by time, so places tell. */
export function inOrder(journal: string, first: RegExp, second: RegExp): boolean {
  const lines = journal.split('\n');
  const [one, two] = [first, second].map((wanted) => lines.findIndex((line) => wanted.test(line)));
  return one !== undefined && two !== undefined && one !== -1 && one < two;
}

/** What systemd says when it breaks an ordering cycle; the words are the same from 252 to 262. */
export const CYCLE = /ordering cycle/i;
export const SYSINIT = /systemd\[1\]: Reached target sysinit\.target/;
export const MULTI_USER = /systemd\[1\]: Reached target multi-user\.target/;
