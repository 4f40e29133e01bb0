import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { BANNER, checkVersion, consoleFault } from './banner.ts';
import { rootTree } from './base.ts';
import { needSpace } from './cache.ts';
import { command, HarnessError } from './command.ts';
import type { Boot, BootResult, Guest } from './guest.ts';
import { filesInside, INSIDE, linksInside } from './inside.ts';
import { installedLayer } from './product.ts';

/** What a run writes: journal, images' used parts. */
const FREE_MB = 200;
/** For unpacking, starting, reporting and ending, beside the boot and the script, each of which has its watchdog. */
const OVERHEAD_SECONDS = 60;
/** In PID 1's own words: when they go to the journal. */
const JOURNAL_THERE = /Started .*systemd-journald\.service/;

/**
 * Runs with mounts of its own, which end with it: a writable layer over the installed tree, which is never changed.
 * The control group of its own keeps two containers that run side by side out of each other's units.
 * Arguments: LAYERS FOLDER PREPARE PID1-ARGUMENTS…
 */
const START = `set -eu
layers=$1 folder=$2 prepare=$3; shift 3
mount -t overlay overlay -o "lowerdir=$layers,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
tar -C "$folder/over" --sparse -c . | tar -x -C "$folder/root" --no-overwrite-dir --no-same-owner -p
mount -t proc proc "$folder/root/proc"
chroot "$folder/root" /bin/sh -euc "$prepare"
umount "$folder/root/proc"
unified=$(findmnt -nt cgroup2 -o TARGET | head -n 1)
[ -n "$unified" ] || { echo 'no cgroup2 file system is mounted'; exit 1; }
group="$unified$(sed -n 's/^0:://p' /proc/self/cgroup)/boot-test-$$"
mkdir "$group"; echo "$group" > "$folder/group"; echo $$ > "$group/cgroup.procs"
# Without a /tmp that is there before PID 1, as machines have it.
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_TMPFS_TMP=0
exec systemd-nspawn --quiet --directory="$folder/root" --machine="boot-test-$$" --boot --register=no --keep-unit \\
  --private-network --console=read-only -- "$@"
`;

/** Boots in a container (systemd-nspawn): no device mapper, no TPM, no network but its own loopback. */
export const bootContainer: Boot = async (suite, guest, { scenario, folder, after }) => {
  const step = `${scenario} on ${suite} (container)`;
  needSpace(folder, FREE_MB, step);
  const layers = [...guest.layers, await installedLayer(suite), await rootTree(suite)].join(':');
  layOut(guest, folder, after);
  const console = join(folder, 'console.log');
  const start = performance.now();
  const timeoutMs = (2 * guest.watchdogSeconds + OVERHEAD_SECONDS) * 1000;
  const arguments_ = guest.append.split(' ').filter((word) => word !== '');
  const prepare = [guest.prepare, ...guest.enable.map((unit) => `systemctl enable '${unit}'`)].join('\n');
  const program = ['unshare', '--mount', '--propagation=private', 'sh', '-c', START, 'sh'];
  const options = { step, log: console, timeoutMs };
  const [boot, removal] = [
    await command([...program, layers, folder, prepare, ...arguments_], options).catch(errorOf),
    await removeGroup(step, folder).catch(errorOf),
  ];
  // First what the console tells of: other faults come of it.
  const fault = consoleFault(readFileSync(console, 'utf8'));
  if (fault !== null) throw new HarnessError(step, fault, console);
  if (boot instanceof Error) throw boot;
  if (removal instanceof Error) throw removal;
  const result = read(step, folder, (performance.now() - start) / 1000);
  if (after === undefined) checkVersion(step, suite, readFileSync(console, 'utf8'), console);
  return result;
};

const errorOf = (thrown: unknown) => (thrown instanceof Error ? thrown : new Error(String(thrown)));

function layOut(guest: Guest, folder: string, after: BootResult | undefined): void {
  for (const name of ['work', 'root', 'over']) mkdirSync(join(folder, name));
  if (after === undefined) mkdirSync(join(folder, 'upper'));
  else moveState(after.folder, folder);
  const over = join(folder, 'over');
  const place = (path: string) => {
    mkdirSync(dirname(join(over, path)), { recursive: true });
    return join(over, path);
  };
  for (const [path, { content, mode }] of Object.entries({ ...filesInside(guest), ...guest.files })) {
    writeFileSync(place(path), content, { mode: mode ?? 0o644 });
  }
  for (const [path, target] of Object.entries(linksInside)) symlinkSync(target, place(path));
  if (after !== undefined) return;
  for (const { serial, image } of guest.disks) cpSync(image, place(`/disks/${serial}`));
}

/** The machine's disk goes on to the next boot; its last report stays with the boot that made it. */
function moveState(from: string, to: string): void {
  const upper = join(to, 'upper');
  renameSync(join(from, 'upper'), upper);
  mkdirSync(join(from, 'upper'));
  renameSync(join(upper, INSIDE), join(from, 'upper', INSIDE));
}

function read(step: string, folder: string, seconds: number): BootResult {
  const inside = join(folder, 'upper', INSIDE);
  const file = (name: string) =>
    existsSync(join(inside, name)) ? readFileSync(join(inside, name), 'utf8') : null;
  const console = join(folder, 'console.log');
  const shown = readFileSync(console, 'utf8');
  const journal = file('journal');
  if (journal === null || !BANNER.test(shown)) {
    throw new HarnessError(step, 'the guest ended without a report', console);
  }
  const status = file('status');
  return {
    status: status === null ? null : Number(status),
    output: file('output') ?? '',
    failedUnits:
      file('failed-units')
        ?.split('\n')
        .filter((unit) => unit !== '') ?? [],
    journal: `${untilJournal(shown)}\n${journal}`,
    hung: file('hung'),
    seconds,
    folder,
  };
}

/** A container has no kernel log for what PID 1 says before there is a journal, such as of an ordering cycle. */
function untilJournal(console: string): string {
  const lines = console.slice(console.search(BANNER)).replaceAll('\r', '').split('\n');
  const end = lines.findIndex((line) => JOURNAL_THERE.test(line));
  return lines.slice(0, end).join('\n');
}

/** Ends what may be left in it. Empty groups stay when their processes are gone, and only empty ones can be removed. */
async function removeGroup(step: string, folder: string): Promise<void> {
  const file = join(folder, 'group');
  if (!existsSync(file)) return;
  const group = readFileSync(file, 'utf8').trim();
  writeFileSync(join(group, 'cgroup.kill'), '1');
  for (let tries = 0; tries < 100; tries++) {
    if (/^populated 0$/m.test(readFileSync(join(group, 'cgroup.events'), 'utf8'))) return removeTree(group);
    await pause(50);
  }
  throw new HarnessError(step, `processes of the guest do not end: ${group}`);
}

function removeTree(group: string): void {
  for (const entry of readdirSync(group, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(group, entry.name));
  }
  rmdirSync(group);
}
