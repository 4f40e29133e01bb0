import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { AppError } from '../base/errors.ts';
import type { ScratchFolder } from '../base/ports.ts';

/**
 * Root's is in memory: what a process that was killed leaves is gone with this boot.
 * @throws AppError `unavailable`
 */
export function makeScratchFolder(): ScratchFolder {
  const parent = process.getuid?.() === 0 ? '/run' : '/tmp';
  const path = attempt(() => mkdtempSync(`${parent}/fetch-luks-key-`));
  const makeFolder = (name: string) => void mkdirSync(`${path}/${name}`, { recursive: true });
  return {
    path,
    folder: (name) => attempt(() => makeFolder(name)),
    write(name, text) {
      attempt(() => {
        makeFolder(name.replace(/\/?[^/]*$/, ''));
        writeFileSync(`${path}/${name}`, text);
      });
    },
    remove: (name) => attempt(() => rmSync(`${path}/${name}`, { recursive: true, force: true })),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

function attempt<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AppError('unavailable', `scratch folder: ${reason}`, { cause });
  }
}
