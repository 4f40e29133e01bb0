import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { cached } from './cache.ts';
import { command, HarnessError } from './command.ts';
import { say } from './progress.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** The first with a package: its scripts, units and program are others than today's. */
const COMMIT = 'ab98c249d9';
const FREE_MB = 1500;
const BUILD_MS = 20 * 60_000;

/**
 * Built from the commit's own sources by the packages that are installed here, with a version that any other one is newer
 * than, and marked so that the journal tells whose units were booted. Arguments: ROOT COMMIT FOLDER NODE
 */
const BUILD = `set -eu
root=$1 commit=$2 folder=$3 node=$4
# Packages of that time are built in its dist.
mkdir -p "$folder/source/dist"
git -c safe.directory='*' -C "$root" archive "$commit" | tar -x -C "$folder/source"
ln -s "$root/node_modules" "$folder/source/node_modules"
"$node" --no-warnings "$folder/source/packaging/package.ts" --architecture amd64 --output "$folder"
dpkg-deb --raw-extract "$folder"/fetch-luks-key_*_amd64.deb "$folder/tree"
sed -i 's/^Version: .*/Version: 0.0.1~previous/' "$folder/tree/DEBIAN/control"
sed -i 's/^Description=.*/& of the previous version/' "$folder"/tree/usr/lib/systemd/system/*
dpkg-deb -Zgzip -z1 --root-owner-group --build "$folder/tree" "$folder/previous.deb"
rm -r "$folder/source" "$folder/tree" "$folder"/fetch-luks-key_*_amd64.deb
`;

/** A package that ours is an upgrade of. */
export async function previousPackage(): Promise<string> {
  const folder = await cached('previous', { COMMIT, BUILD }, FREE_MB, async (folder) => {
    const step = `building the package of commit ${COMMIT}, to upgrade from`;
    needHistory(step);
    say(step);
    const log = `${folder}.log`;
    const build = ['sh', '-c', BUILD, 'sh', ROOT, COMMIT, folder, process.execPath];
    await command(build, { step, log, timeoutMs: BUILD_MS });
    rmSync(log);
  });
  return join(folder, 'previous.deb');
}

function needHistory(step: string): void {
  try {
    const check = ['-c', 'safe.directory=*', '-C', ROOT, 'cat-file', '-e', `${COMMIT}^{commit}`];
    execFileSync('git', check, { stdio: 'ignore' });
  } catch {
    throw new HarnessError(step, 'expected it in the history of this work tree: git fetch --unshallow');
  }
}
