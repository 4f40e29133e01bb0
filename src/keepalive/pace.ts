import type { Random } from '../base/ports.ts';

const SHORTEST_MS = 1_000;
const LONGEST_MS = 5 * 60_000;

/**
 * Until the next keep-alive: a third of what the lease has left, so that two may be lost, shortened by up to a fifth at
 * random, so that a fleet that was started together does not call in step.
 * @param leaseLeftMs null = no lease runs
 */
export function pauseMs(leaseLeftMs: number | null, random: Random): number {
  const third = leaseLeftMs === null ? LONGEST_MS : leaseLeftMs / 3;
  return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, third)) * (1 - random.fraction() / 5);
}

/** After the given number of failures in a row: 1 s, doubling to a minute, each shortened by up to half. */
export function retryMs(failures: number, random: Random): number {
  return Math.min(60_000, 1000 * 2 ** (failures - 1)) * (1 - random.fraction() / 2);
}
