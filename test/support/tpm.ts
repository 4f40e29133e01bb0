import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Files } from '../../src/base/ports.ts';
import { Secret } from '../../src/base/secret.ts';
import { files } from '../../src/os/files.ts';
import { locksIn } from '../../src/os/locks.ts';
import { memoryFiles } from '../../src/os/memory-files.ts';
import { runner } from '../../src/os/processes.ts';
import { type Tpm, tpmByTools } from '../../src/tpm/tpm.ts';
import { type Swtpm, startSwtpm } from './swtpm.ts';

/** A software TPM of the test's own, removed when it ends. */
export async function ownSwtpm(t: Test): Promise<Swtpm> {
  const swtpm = await startSwtpm();
  t.teardown(() => swtpm.remove());
  return swtpm;
}

/** A folder for locks, or for tools, removed when the test ends. */
export function ownFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'tpm-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A folder of tpm2-tools where a shell script stands for `name`. */
export function toolsWith(t: Test, name: string, script: string): string {
  const folder = ownFolder(t);
  for (const tool of readdirSync('/usr/bin').filter((file) => file.startsWith('tpm2_') && file !== name)) {
    symlinkSync(`/usr/bin/${tool}`, join(folder, tool));
  }
  writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return folder;
}

/** What `bin/` builds, with locks in `lockFolder`. */
export function tpmAt(
  tcti: string,
  lockFolder: string,
  toolFolder = '/usr/bin',
  /** Where signed policies are read. */
  disk: Pick<Files, 'read'> = files,
): Tpm {
  const ports = { runner, memoryFiles, files: disk, locks: locksIn(lockFolder) };
  return tpmByTools(ports, { tcti, toolFolder });
}

export function secretOf(text: string): Secret {
  return Secret.takeFrom(Buffer.from(text));
}

export const noAbort = new AbortController().signal;
