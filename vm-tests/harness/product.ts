import { createHash } from 'node:crypto';
import { copyFileSync, globSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { rootTree } from './base.ts';
import { cached } from './cache.ts';
import { command, HarnessError } from './command.ts';
import type { Suite } from './guest.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const INSTALL_MS = 120_000;
const FREE_MB = 1000;

/** As an administrator would: the package's own scripts run, in the guest's own tools. Arguments: LOWER FOLDER */
const INSTALL = `set -eu
lower=$1 folder=$2
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
cp "$folder/package.deb" "$folder/root/package.deb"
mount -t proc proc "$folder/root/proc"
chroot "$folder/root" dpkg --install /package.deb
umount "$folder/root/proc"
rm "$folder/root/package.deb"
`;

/** The package as `npm run package` left it in dist/, unless the environment names another. */
export function packagePath(): string {
  const { VM_TESTS_PACKAGE: given } = process.env;
  if (given !== undefined) return resolve(given);
  const found = globSync('dist/fetch-luks-key_*_amd64.deb', { cwd: ROOT });
  const [only] = found;
  if (only === undefined || found.length > 1) {
    const got = found.length === 0 ? 'none' : found.join(', ');
    throw new HarnessError(
      'search for the package',
      `expected one dist/fetch-luks-key_*_amd64.deb, got ${got}`,
    );
  }
  return join(ROOT, only);
}

/** What installing our package changes in the suite's base tree: a layer to be laid over it. */
export async function installedLayer(suite: Suite): Promise<string> {
  const deb = packagePath();
  const lower = await rootTree(suite);
  const hash = createHash('sha256').update(readFileSync(deb)).digest('hex');
  const folder = await cached(`product-${suite}`, { hash, lower, INSTALL }, FREE_MB, async (folder) => {
    const step = `${suite}: installing ${deb}`;
    for (const name of ['upper', 'work', 'root']) mkdirSync(join(folder, name));
    copyFileSync(deb, join(folder, 'package.deb'));
    const program = ['unshare', '--mount', '--propagation=private', 'sh', '-c', INSTALL, 'sh', lower, folder];
    const log = `${folder}.log`;
    await command(program, { step, log, timeoutMs: INSTALL_MS });
    rmSync(log);
    rmSync(join(folder, 'package.deb'));
  });
  return join(folder, 'upper');
}
