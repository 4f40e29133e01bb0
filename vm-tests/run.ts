/**
 * Boots every scenario: npm run vm-tests [-- --only FILE --suite SUITE --tier TIER]. Its exit status is 0 when every
 * one passed, and at least one ran. A whole run of a tier writes its part of docs/BOOT.md.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { rootTree } from './harness/base.ts';
import { bootPage } from './harness/boot-page.ts';
import { cacheFolder, forgetOld } from './harness/cache.ts';
import { HarnessError } from './harness/command.ts';
import { type Suite, suites, type Tier } from './harness/guest.ts';
import { say } from './harness/progress.ts';
import type { Outcome } from './harness/scenario.ts';

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

try {
  process.exitCode = await main();
} catch (thrown) {
  if (!(thrown instanceof HarnessError || thrown instanceof UsageError)) throw thrown;
  process.stderr.write(`vm-tests: ${thrown.message}\n`);
  process.exitCode = thrown instanceof UsageError ? 2 : 1;
}

async function main(): Promise<number> {
  const { only, suite, tier } = wanted();
  if (process.getuid?.() !== 0)
    throw new HarnessError('start', 'expected root: only root may mount and start containers');
  const files = globSync('vm-tests/*.test.ts', { cwd: ROOT }).filter((file) =>
    basename(file).includes(only ?? ''),
  );
  if (files.length === 0) throw new UsageError(`--only ${only}: no file of vm-tests/*.test.ts is called so`);
  forgetOld(Date.now());
  packageUpToDate();
  // Here, so that a download that fails is told once.
  await Promise.all((suite === undefined ? everySuite : [suite]).map(rootTree));
  if (tier !== 'container') say('machines are emulated: /dev/kvm is neither needed nor used');
  const results = join(runFolder(), 'results');
  const started = performance.now();
  const status = tap(files.toSorted(), {
    VM_TESTS_RESULTS: results,
    ...(suite === undefined ? {} : { VM_TESTS_SUITE: suite }),
    ...(tier === undefined ? {} : { VM_TESTS_TIER: tier }),
  });
  const wallSeconds = (performance.now() - started) / 1000;
  const outcomes = read(results);
  const failed = outcomes.filter(({ passed }) => !passed);
  for (const { scenario, suite, tier } of failed) say(`FAILED: ${scenario}, ${suite}, ${tier}`);
  say(`${outcomes.length - failed.length} passed, ${failed.length} failed, in ${wallSeconds.toFixed(0)} s`);
  if (outcomes.length === 0) throw new HarnessError('run', 'no scenario ran');
  if (only === undefined && suite === undefined) writePage(outcomes, wallSeconds);
  return status === 0 && failed.length === 0 ? 0 : 1;
}

function wanted(): { only?: string; suite?: Suite; tier?: Tier } {
  const string = { type: 'string' } as const;
  let values: { only?: string; suite?: string; tier?: string };
  try {
    ({ values } = parseArgs({ options: { only: string, suite: string, tier: string } }));
  } catch (thrown) {
    throw new UsageError(thrown instanceof Error ? thrown.message : String(thrown));
  }
  const { only, suite, tier } = values;
  return {
    ...(only === undefined ? {} : { only: only.replace(/\.test\.ts$/, '') }),
    ...(suite === undefined ? {} : { suite: oneOf('--suite', everySuite, suite) }),
    ...(tier === undefined ? {} : { tier: oneOf('--tier', TIERS, tier) }),
  };
}

function oneOf<Value extends string>(option: string, values: readonly Value[], got: string): Value {
  const value = values.find((value) => value === got);
  if (value === undefined)
    throw new UsageError(`${option}: expected one of ${values.join(', ')}, got ${got}`);
  return value;
}

/** The package that is tested is the one of these sources, unless somebody names another. */
function packageUpToDate(): void {
  if (process.env['VM_TESTS_PACKAGE'] !== undefined) return;
  const debs = globSync('dist/fetch-luks-key_*_amd64.deb', { cwd: ROOT }).map((file) => join(ROOT, file));
  const builtMs = debs.length === 1 ? statSync(debs[0] ?? '').mtimeMs : 0;
  const newer = globSync(SOURCES, { cwd: ROOT }).find((file) => statSync(join(ROOT, file)).mtimeMs > builtMs);
  if (newer === undefined) return;
  say(builtMs === 0 ? 'building the package' : `building the package: ${newer} is newer`);
  const build = [
    join(ROOT, 'packaging/package.ts'),
    '--product',
    'fetch-luks-key',
    '--architecture',
    'amd64',
  ];
  const { status } = spawnSync(process.execPath, ['--no-warnings', ...build], {
    cwd: ROOT,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) throw new HarnessError('build of the package', `exit status ${status}`);
}

function runFolder(): string {
  const runs = join(cacheFolder(), 'runs');
  mkdirSync(runs, { recursive: true });
  return mkdtempSync(join(runs, 'run-'));
}

function tap(files: readonly string[], environment: Readonly<Record<string, string>>): number | null {
  const options = [`--jobs=${JOBS}`, '--timeout=3600', '--reporter=terse', '--no-color'];
  const { status } = spawnSync(join(ROOT, 'node_modules/.bin/tap'), [...options, ...files], {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
    // CI: lines, not a picture that is drawn again and again.
    env: { ...process.env, CI: 'true', ...environment },
  });
  return status;
}

function read(results: string): Outcome[] {
  if (!existsSync(results)) return [];
  const lines = readFileSync(results, 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Outcome);
}

function writePage(outcomes: readonly Outcome[], wallSeconds: number): void {
  const runs = TIERS.map((tier) => ({
    tier,
    outcomes: outcomes.filter((outcome) => outcome.tier === tier),
    wallSeconds,
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
