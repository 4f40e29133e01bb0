import { createHash } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { kernelPackage, rootTar } from './base.ts';
import { cached } from './cache.ts';
import { command } from './command.ts';
import type { Suite } from './guest.ts';
import { packagePath } from './product.ts';
import { say } from './progress.ts';

/** What a machine of one suite boots from; shared, never written to. */
export interface MachineImage {
  /** Raw disk: one ext4 partition with our package installed. */
  readonly disk: string;
  readonly kernel: string;
}

/** Of the disk's only partition, for the kernel's `root=`. */
export const ROOT_PARTITION = '1ab00001-01';

const GUEST_FOLDER = join(import.meta.dirname, 'machine-guest');
const GUEST_FILES = ['build', 'init', 'report', 'boot-test-report.service', 'boot-test-watchdog.service'];
const FREE_MB = 4000;
const BUILD_MS = 5 * 60_000;

/** From forky on Debian's kernel is three packages; systemd does as well with that of the release before. */
const KERNEL_OF: Partial<Record<Suite, Suite>> = { forky: 'trixie' };

export async function machineImage(suite: Suite): Promise<MachineImage> {
  const debFile = packagePath();
  const [tar, kernel] = [await rootTar(suite), await kernelPackage(KERNEL_OF[suite] ?? suite)];
  const guestFiles = GUEST_FILES.map((name) => readFileSync(join(GUEST_FOLDER, name), 'utf8'));
  const deb = createHash('sha256').update(readFileSync(debFile)).digest('hex');
  const inputs = { tar, kernel, guestFiles, deb };
  const folder = await cached(`machine-${suite}`, inputs, FREE_MB, async (folder) => {
    const step = `${suite}: disk image with the package`;
    say(`${step}: building, half a minute`);
    const log = `${folder}.log`;
    const build = [join(GUEST_FOLDER, 'build'), tar, kernel, debFile, folder, ROOT_PARTITION];
    await command(build, { step, log, timeoutMs: BUILD_MS });
    rmSync(log);
  });
  return { disk: join(folder, 'disk'), kernel: join(folder, 'vmlinuz') };
}
