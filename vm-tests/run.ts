/**
 * Boots every scenario: npm run vm-tests [-- --only FILE… --suite SUITE --tier TIER --package DEB]. Its exit status is
 * 0 when every one that was asked for ran, and passed. A whole run of a tier writes its part of docs/BOOT.md.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { productNames } from '../packaging/products.ts';
import { rootTree } from './harness/base.ts';
import { bootPage } from './harness/boot-page.ts';
import { cacheFolder, forgetOld } from './harness/cache.ts';
import { HarnessError } from './harness/command.ts';
import { type Suite, suites, type Tier } from './harness/guest.ts';
import { say } from './harness/progress.ts';
import { follow, missing, type Outcome, readResults } from './harness/results.ts';
import { sourcesHere } from './harness/sources.ts';

const ROOT = resolve(import.meta.dirname, '..');
const PAGE = join(ROOT, 'docs/BOOT.md');
const everySuite = Object.keys(suites) as Suite[];
const TIERS: readonly Tier[] = ['container', 'machine'];
/** What the package is made of. */
const SOURCES = [
  '{src,packaging,units,etc,docs/man}/**',
  'package.json',
  'package-lock.json',
  'README.md',
  'LICENSE',
];
/** Scenarios at a time: a container's boot, and a machine, keep one processor busy. */
const JOBS = 2;

class UsageError extends Error {}

// The caller's own is no option of this run, and is not to be taken for one.
for (const name of Object.keys(process.env)) if (name.startsWith('VM_TESTS_')) delete process.env[name];

try {
  process.exitCode = await main();
} catch (thrown) {
  if (!(thrown instanceof HarnessError || thrown instanceof UsageError)) throw thrown;
  process.stderr.write(`vm-tests: ${thrown.message}\n`);
  process.exitCode = thrown instanceof UsageError ? 2 : 1;
}

async function main(): Promise<number> {
  const { only, suite, tier, package: given } = wanted();
  if (process.getuid?.() !== 0)
    throw new HarnessError('start', 'expected root: only root may mount and start containers');
  const files = filesCalled(only);
  forgetOld(Date.now());
  if (given === undefined) packagesUpToDate();
  const images = await baseSystems(suite === undefined ? everySuite : [suite]);
  if (tier !== 'container') say('machines are emulated: /dev/kvm is neither needed nor used');
  const results = join(runFolder(), 'results');
  const started = performance.now();
  const status = await tap(files.toSorted(), results, {
    VM_TESTS_SUITE: suite,
    VM_TESTS_TIER: tier,
    VM_TESTS_PACKAGE: given,
  });
  const wallSeconds = (performance.now() - started) / 1000;
  const ran = readResults(results);
  const { outcomes } = ran;
  const failed = outcomes.filter(({ passed }) => !passed);
  const absent = missing(
    ran,
    files.map((file) => basename(file)),
  );
  for (const { scenario, suite, tier } of failed) say(`FAILED: ${scenario}, ${suite}, ${tier}`);
  for (const one of absent) say(`FAILED: ${one}`);
  say(`${outcomes.length - failed.length} passed, ${failed.length} failed, in ${wallSeconds.toFixed(0)} s`);
  if (outcomes.length === 0) throw new HarnessError('run', 'no scenario ran');
  if (only.length === 0 && suite === undefined && given === undefined)
    writePage(outcomes, wallSeconds, images);
  return status === 0 && failed.length === 0 && absent.length === 0 ? 0 : 1;
}

/** @param names none = every one; of some, each has to be in a file's name */
function filesCalled(names: readonly string[]): string[] {
  const files = globSync('vm-tests/*.test.ts', { cwd: ROOT });
  const called = (name: string) => files.filter((file) => basename(file).includes(name));
  const unknown = names.find((name) => called(name).length === 0);
  if (unknown !== undefined)
    throw new UsageError(`--only ${unknown}: no file of vm-tests/*.test.ts is called so`);
  return names.length === 0 ? files : [...new Set(names.flatMap(called))];
}

function wanted(): { only: string[]; suite?: Suite; tier?: Tier; package?: string } {
  const string = { type: 'string' } as const;
  let values: { only?: string[]; suite?: string; tier?: string; package?: string };
  try {
    ({ values } = parseArgs({
      options: { only: { ...string, multiple: true }, suite: string, tier: string, package: string },
    }));
  } catch (thrown) {
    throw new UsageError(thrown instanceof Error ? thrown.message : String(thrown));
  }
  const { only = [], suite, tier, package: given } = values;
  return {
    only: only.map((name) => name.replace(/\.test\.ts$/, '')),
    ...(suite === undefined ? {} : { suite: oneOf('--suite', everySuite, suite) }),
    ...(tier === undefined ? {} : { tier: oneOf('--tier', TIERS, tier) }),
    ...(given === undefined ? {} : { package: resolve(given) }),
  };
}

function oneOf<Value extends string>(option: string, values: readonly Value[], got: string): Value {
  const value = values.find((value) => value === got);
  if (value === undefined)
    throw new UsageError(`${option}: expected one of ${values.join(', ')}, got ${got}`);
  return value;
}

/**
 * Here, so that a download that fails is told once.
 * @returns how much of it this run had to make
 */
async function baseSystems(wanted: readonly Suite[]): Promise<string> {
  const bases = () => readdirSync(cacheFolder()).filter((name) => /^base-\w+-\w+$/.test(name)).length;
  const before = bases();
  await Promise.all(wanted.map(rootTree));
  const made = bases() - before;
  if (made === 0) return 'base systems from the cache';
  return made === wanted.length
    ? 'base systems made anew'
    : `${made} of ${wanted.length} base systems made anew`;
}

/** The packages that are tested are those of these sources, unless somebody names another. */
function packagesUpToDate(): void {
  const debs = productNames.map((name) => globSync(`dist/${name}_*_amd64.deb`, { cwd: ROOT }));
  const times = debs.flatMap((found) => found.map((file) => statSync(join(ROOT, file)).mtimeMs));
  const builtMs = debs.every((found) => found.length === 1) ? Math.min(...times) : 0;
  const newer = globSync(SOURCES, { cwd: ROOT }).find((file) => statSync(join(ROOT, file)).mtimeMs > builtMs);
  if (newer === undefined) return;
  say(builtMs === 0 ? 'building the packages' : `building the packages: ${newer} is newer`);
  const build = [join(ROOT, 'packaging/package.ts'), '--architecture', 'amd64'];
  const { status } = spawnSync(process.execPath, ['--no-warnings', ...build], {
    cwd: ROOT,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) throw new HarnessError('build of the packages', `exit status ${status}`);
}

function runFolder(): string {
  const runs = join(cacheFolder(), 'runs');
  mkdirSync(runs, { recursive: true });
  return mkdtempSync(join(runs, 'run-'));
}

/** @param results file that it writes */
async function tap(
  files: readonly string[],
  results: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<number | null> {
  const options = [`--jobs=${JOBS}`, '--timeout=3600', '--reporter=terse', '--no-color'];
  const child = spawn(join(ROOT, 'node_modules/.bin/tap'), [...options, ...files], {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
    // CI: lines, not a picture that is drawn again and again.
    env: { ...process.env, CI: 'true', VM_TESTS_RESULTS: results, ...environment },
  });
  const ended = follow(results, say);
  try {
    return await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  } finally {
    ended();
  }
}

function writePage(outcomes: readonly Outcome[], wallSeconds: number, images: string): void {
  const madeOf = `${sourcesHere(ROOT)}; ${images}`;
  const runs = TIERS.map((tier) => ({
    tier,
    outcomes: outcomes.filter((outcome) => outcome.tier === tier),
    wallSeconds,
    madeOf,
  }));
  const previous = existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : '';
  writeFileSync(
    PAGE,
    bootPage(
      previous,
      runs.filter(({ outcomes }) => outcomes.length > 0),
    ),
  );
  say(`wrote ${PAGE}`);
}
