import { spawnSync } from 'node:child_process';

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** Wall time of `action`, milliseconds. */
export async function timed(action: () => unknown): Promise<number> {
  const startMs = performance.now();
  await action();
  return performance.now() - startMs;
}

export interface Pair {
  readonly oursMs: number;
  readonly theirsMs: number;
  /** Median of the ratios of each pair: what a machine whose speed drifts cannot spoil. */
  readonly ratio: number;
}

/**
 * Runs both in turn, ours first in every other pair; the first pair warms up and is not counted.
 * @param between runs after each of ours, outside the time
 */
export async function paired(
  runs: number,
  ours: () => unknown,
  theirs: () => unknown,
  between: () => Promise<void> = async () => {},
): Promise<Pair> {
  const pairs: { ours: number; theirs: number }[] = [];
  const timeOurs = async () => {
    const ms = await timed(ours);
    await between();
    return ms;
  };
  for (let run = 0; run <= runs; run++) {
    const pair =
      run % 2 === 0
        ? { ours: await timeOurs(), theirs: await timed(theirs) }
        : { theirs: await timed(theirs), ours: await timeOurs() };
    if (run > 0) pairs.push(pair);
  }
  return {
    oursMs: median(pairs.map((pair) => pair.ours)),
    theirsMs: median(pairs.map((pair) => pair.theirs)),
    ratio: median(pairs.map((pair) => pair.ours / pair.theirs)),
  };
}

export interface Cost {
  /** User and system time of the process and its children, milliseconds; time(1) counts in steps of 10. */
  readonly cpuMs: number;
  /** Resident set of the largest single process, MiB. */
  readonly peakMiB: number;
}

/** What time(1) wrote with the format `%U %S %M`, one line a process. */
export function costs(lines: string): Cost[] {
  return lines
    .trim()
    .split('\n')
    .map((line) => {
      const [user = Number.NaN, system = Number.NaN, kib = Number.NaN] = line.split(' ').map(Number);
      return { cpuMs: (user + system) * 1000, peakMiB: kib / 1024 };
    });
}

/** Wall time of a program from start to end, median of `runs`, milliseconds. */
export function startTimeMs(runs: number, program: string, args: readonly string[]): number {
  const times = Array.from({ length: runs }, () => {
    const startMs = performance.now();
    const { status } = spawnSync(program, args, { stdio: 'ignore' });
    if (status !== 0) throw new Error(`${program} ${args.join(' ')}: exit status ${status}`);
    return performance.now() - startMs;
  });
  return median(times);
}
