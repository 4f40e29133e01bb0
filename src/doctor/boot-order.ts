import { limits } from '../base/limits.ts';
import type { Runner, ScratchFolder } from '../base/ports.ts';
import { UNIT_FOLDERS } from './unit-files.ts';

const ANALYZE = '/usr/bin/systemd-analyze';
const GENERATORS = '/usr/lib/systemd/system-generators';

/** What is to hold beside what the units say: drop-ins by the names of their units. */
export type Assumption = Readonly<Record<string, string>>;

/** The order of the next boot, as systemd itself works it out. */
export interface BootOrder {
  /** Where units are looked for, what the generators make of crypttab and fstab now first. */
  readonly folders: readonly string[];
  /**
   * The ordering cycles of a whole boot, each the names of its units in a row: each waits for the next. What waits for
   * what, whatever the reason, is asked by assuming that the second waits for the first: then there is a cycle.
   * @throws AppError `unavailable`, `tool-missing`, `stopped`
   */
  cycles(assumption: Assumption): Promise<readonly (readonly string[])[]>;
}

/**
 * Runs systemd's generators as the next boot does, into `scratch`.
 * @param folders of units, the highest priority first
 * @throws AppError `unavailable`, `tool-missing` (no systemd here), `stopped`
 */
export async function bootOrder(
  { crypttab, fstab }: { readonly crypttab: string; readonly fstab: string },
  scratch: ScratchFolder,
  runner: Runner,
  signal: AbortSignal,
  unitFolders: readonly string[] = UNIT_FOLDERS,
): Promise<BootOrder> {
  const options = { timeoutMs: limits.actionTimeoutMs, maxOutputBytes: limits.unitGraphBytes, signal };
  const [normal, early, late] = ['normal', 'early', 'late'].map((name) => {
    scratch.folder(name);
    return `${scratch.path}/${name}`;
  }) as [string, string, string];
  const generate = (name: string, environment: Readonly<Record<string, string>>) =>
    runner.run(`${GENERATORS}/${name}`, [normal, early, late], { ...options, environment });
  await generate('systemd-cryptsetup-generator', { SYSTEMD_CRYPTTAB: crypttab });
  await generate('systemd-fstab-generator', { SYSTEMD_FSTAB: fstab });
  const folders = [early, ...unitFolders.slice(0, 2), normal, ...unitFolders.slice(2), late];
  return {
    folders,
    async cycles(assumption) {
      for (const [unit, text] of Object.entries(assumption)) {
        scratch.write(`assumed/${unit}.d/zz-assumed.conf`, text);
      }
      try {
        const environment = { SYSTEMD_UNIT_PATH: [`${scratch.path}/assumed`, ...folders].join(':') };
        // It also tells what is wrong with units that are not ours, and its status is about them too.
        const { stderr } = await runner.run(ANALYZE, ['verify', '--man=no', 'default.target'], {
          ...options,
          environment,
        });
        return cyclesIn(stderr);
      } finally {
        scratch.remove('assumed');
      }
    },
  };
}

/**
 * Up to 257 a line for each unit, `UNIT: Found ordering cycle on A/start` and then `UNIT: Found dependency on B/start`;
 * later all in one, `UNIT: Found ordering cycle: A/start after B/start after … - after A`
 * (src/core/transaction.c).
 */
export function cyclesIn(stderr: string): string[][] {
  const cycles: string[][] = [];
  for (const line of stderr.split('\n')) {
    const [, first] = /: Found ordering cycle on (\S+)\/\w+$/.exec(line) ?? [];
    const [, next] = /: Found dependency on (\S+)\/\w+$/.exec(line) ?? [];
    const [, whole] = /: Found ordering cycle: (.*?)(?: - after \S+)?$/.exec(line) ?? [];
    if (first !== undefined) cycles.push([first]);
    else if (next !== undefined) cycles.at(-1)?.push(next);
    else if (whole !== undefined) cycles.push(whole.split(' after ').map((job) => job.replace(/\/\w+$/, '')));
  }
  return cycles;
}

/** systemd.unit(5), STRING ESCAPING FOR INCLUSION IN UNIT NAMES. */
export function escapeForUnit(text: string): string {
  return [...Buffer.from(text)]
    .map((byte, index) => {
      const char = String.fromCharCode(byte);
      if (char === '/') return '-';
      return /[A-Za-z0-9:_.]/.test(char) && !(char === '.' && index === 0)
        ? char
        : `\\x${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
}
