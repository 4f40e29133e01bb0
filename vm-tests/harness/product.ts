import { createHash } from 'node:crypto';
import { copyFileSync, globSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ProductName } from '../../packaging/products.ts';
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

/** The package as `npm run package` left it in dist/, unless the runner was given another. */
export function packagePath(product: ProductName = 'fetch-luks-key'): string {
  const { VM_TESTS_PACKAGE: given } = process.env;
  if (given !== undefined && product === 'fetch-luks-key') return resolve(given);
  const wanted = `dist/${product}_*_amd64.deb`;
  const found = globSync(wanted, { cwd: ROOT });
  const [only] = found;
  if (only === undefined || found.length > 1) {
    const got = found.length === 0 ? 'none' : found.join(', ');
    throw new HarnessError('search for the package', `expected one ${wanted}, got ${got}`);
  }
  return join(ROOT, only);
}

/** What installing our package changes in the suite's base tree: a layer to be laid over it. */
export async function installedLayer(suite: Suite): Promise<string> {
  return await installed(suite, packagePath(), await rootTree(suite));
}

/** What installing the key server's package beside it changes: a layer to be laid over that. */
export async function keyServerLayer(suite: Suite): Promise<string> {
  const below = `${await installedLayer(suite)}:${await rootTree(suite)}`;
  return await installed(suite, packagePath('luks-key-server'), below);
}

/** @param lower folders that it is installed over, as overlayfs takes them */
async function installed(suite: Suite, deb: string, lower: string): Promise<string> {
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
