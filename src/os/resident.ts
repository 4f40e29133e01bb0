import { readFileSync } from 'node:fs';
import { unmapPages } from './libc.ts';

interface Mapping {
  readonly from: bigint;
  readonly length: bigint;
}

let unchanged: readonly Mapping[] | null = null;

/**
 * Gives back what of this program's own files is in memory. Linux maps a file in pieces of up to 2 MiB, so that of an
 * executable of 117 MiB most stays resident that only the start has used. A daemon that rests for minutes needs next to
 * nothing of it, and gets what it needs from the page cache again.
 */
export function rest(): void {
  unchanged ??= unchangedMappings();
  for (const { from, length } of unchanged) unmapPages(from, length);
}

/** Mappings of files, not writable, of which no page is a copy of this process's own (proc_pid_smaps(5)). */
function unchangedMappings(): Mapping[] {
  let smaps: string;
  try {
    smaps = readFileSync('/proc/self/smaps', 'latin1');
  } catch {
    return [];
  }
  const mapping =
    /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \d+ +\/.*\n(?:[A-Z].*\n)*?Anonymous: +0 kB\n(?:[A-Z].*\n)*?Swap: +0 kB$/gm;
  return [...smaps.matchAll(mapping)].map(([, start, end]) => {
    const from = BigInt(`0x${start}`);
    return { from, length: BigInt(`0x${end}`) - from };
  });
}
