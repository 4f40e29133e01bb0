import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface Seen {
  readonly pid: number;
  /** Arguments and environment, NUL between them. */
  readonly arguments: string;
  readonly environment: string;
}

/** All processes whose environment has `marker` now. */
export function processesWith(marker: string): Seen[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const environment = read(`/proc/${pid}/environ`);
      if (!environment.includes(marker)) return [];
      return [{ pid: Number(pid), arguments: read(`/proc/${pid}/cmdline`), environment }];
    });
}

/** @returns the process with exactly these arguments, its program's name first; null = there is none */
export function processOf(...commandLine: readonly string[]): number | null {
  const sought = `${commandLine.join('\0')}\0`;
  const pid = readdirSync('/proc').find(
    (name) => /^\d+$/.test(name) && read(`/proc/${name}/cmdline`) === sought,
  );
  return pid === undefined ? null : Number(pid);
}

/** A process that ends while it is looked at reads as empty. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** What the descriptors of a process point to. */
export function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}
