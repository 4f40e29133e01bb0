import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { AppError } from '../base/errors.ts';
import type { ScratchFolder } from '../base/ports.ts';

/** In memory where this is root's machine: what is written there is gone with the process, or with this boot. */
const MEMORY = '/run';

/** @throws AppError `unavailable` */
export function makeScratchFolder(): ScratchFolder {
  const path = attempt(() =>
    mkdtempSync(join(process.getuid?.() === 0 ? MEMORY : tmpdir(), 'fetch-luks-key-')),
  );
  return {
    path,
    folder: (name) => attempt(() => void mkdirSync(join(path, name), { recursive: true })),
    write(name, text) {
      attempt(() => {
        mkdirSync(dirname(join(path, name)), { recursive: true });
        writeFileSync(join(path, name), text);
      });
    },
    remove: (name) => attempt(() => rmSync(join(path, name), { recursive: true, force: true })),
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
