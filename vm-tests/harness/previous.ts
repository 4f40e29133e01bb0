import { createHash } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cached } from './cache.ts';
import { command } from './command.ts';
import { packagePath } from './product.ts';

const FREE_MB = 500;
const REPACK_MS = 120_000;

/** The same package, as an older version with other units would be. Arguments: PACKAGE FOLDER */
const REPACK = `set -eu
dpkg-deb --raw-extract "$1" "$2/tree"
sed -i 's/^Version: .*/Version: 0.0.1~previous/' "$2/tree/DEBIAN/control"
sed -i 's/^Description=.*/& of the previous version/' "$2"/tree/usr/lib/systemd/system/*
dpkg-deb -Zgzip -z1 --root-owner-group --build "$2/tree" "$2/previous.deb"
rm -r "$2/tree"
`;

/** A package that ours is an upgrade of. */
export async function previousPackage(): Promise<string> {
  const deb = packagePath();
  const hash = createHash('sha256').update(readFileSync(deb)).digest('hex');
  const folder = await cached('previous', { hash, REPACK }, FREE_MB, async (folder) => {
    const log = `${folder}.log`;
    const step = 'repacking the package as a previous version';
    await command(['sh', '-c', REPACK, 'sh', deb, folder], { step, log, timeoutMs: REPACK_MS });
    rmSync(log);
  });
  return join(folder, 'previous.deb');
}
