import { type Suite, suites, type Tier } from './guest.ts';
import type { Outcome } from './results.ts';

/** docs/BOOT.md: what a run of all scenarios came to. */

const HEADINGS: Readonly<Record<Tier, string>> = {
  container: '## Containers',
  machine: '## Virtual machines',
};

const ABOUT: Readonly<Record<Tier, string>> = {
  container: `systemd-nspawn: each version's own PID 1, generators, units and systemd-cryptsetup, with the package installed. There
is no device mapper, so a volume's key is checked with \`cryptsetup open --test-passphrase\`.`,
  machine: `QEMU without KVM: kernel, dm-crypt, a TPM (swtpm), a network. systemd 262 boots on the kernel of Debian 13 (trixie),
as that of its own release is three packages.`,
};

const TITLE = `# Real boots

Written by \`npm run vm-tests\`, never by hand. A cell is the seconds that each boot of the scenario took, from start to
power off with its report; ok is one without a report, as it must be, – was not run. Scenarios that begin with *wrong*
boot units that are written otherwise than ours, and pass when the boot fails as it must; one that must hang is watched
for 10 s. Those that begin with *harness* try the tests' own guard against guests that go wrong.
`;

/** A run of the tier: which suites, and how long all of it took. */
export interface TierRun {
  readonly tier: Tier;
  readonly outcomes: readonly Outcome[];
  readonly wallSeconds: number;
  /** When, of which sources, on which images. */
  readonly madeOf: string;
}

/**
 * The page with the sections of these runs in place of the ones that `previous` has.
 * @param previous the page as it is; '' = none
 */
export function bootPage(previous: string, runs: readonly TierRun[]): string {
  const sections = (Object.keys(HEADINGS) as Tier[]).map((tier) => {
    const run = runs.find((run) => run.tier === tier);
    return run === undefined ? sectionOf(previous, tier) : section(run);
  });
  return [TITLE, ...sections].filter((text) => text !== '').join('\n');
}

function sectionOf(page: string, tier: Tier): string {
  const [, after] = page.split(`${HEADINGS[tier]}\n`);
  return after === undefined ? '' : `${HEADINGS[tier]}\n${after.split(/^## /m)[0]?.trimEnd()}\n`;
}

function section({ tier, outcomes, wallSeconds, madeOf }: TierRun): string {
  const names = Object.keys(suites) as Suite[];
  const boots = outcomes.reduce((sum, { seconds }) => sum + seconds.length, 0);
  const scenarios = [...new Set(outcomes.map(({ scenario }) => scenario))].toSorted();
  const cell = (scenario: string, suite: Suite) => {
    const found = outcomes.find((outcome) => outcome.scenario === scenario && outcome.suite === suite);
    if (found === undefined) return '–';
    if (!found.passed) return '**failed**';
    return found.seconds.map((one) => one.toFixed(1)).join(' + ') || 'ok';
  };
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const evidence = outcomes
    .toSorted((one, other) => suites[one.suite] - suites[other.suite])
    .flatMap(({ scenario, evidence }) => evidence.map((text) => `${scenario}, ${text.trim()}`));
  return [
    HEADINGS[tier],
    '',
    ABOUT[tier],
    `${boots} boots, two at a time; the whole run took ${Math.round(wallSeconds)} s.`,
    '',
    `Run of ${madeOf}.`,
    '',
    row(['scenario', ...names.map((suite) => `systemd ${suites[suite]} (${suite})`)]),
    row(['---', ...names.map(() => '---')]),
    ...scenarios.map((scenario) => row([scenario, ...names.map((suite) => cell(scenario, suite))])),
    '',
    ...evidence.flatMap((text) => ['```', text, '```', '']),
  ].join('\n');
}
