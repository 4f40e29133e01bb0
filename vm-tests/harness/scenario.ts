import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import t, { type Test } from 'tap';
import { cacheFolder } from './cache.ts';
import { type Boot, type BootResult, type Guest, type Suite, suites, type Tier } from './guest.ts';
import { say } from './progress.ts';
import { record } from './results.ts';

/** How many of the journal's last lines a failure shows; all of it is in the folder. */
const SHOWN_LINES = 60;
/** Each boot has its watchdog, and each step of the harness its own limit. */
const UNLIMITED = { timeout: 0 };
t.setTimeout(UNLIMITED.timeout);

export interface Stage {
  readonly suite: Suite;
  /** Of its systemd. */
  readonly version: number;
  readonly tier: Tier;
  /** Folder for the scenario's own files. */
  readonly folder: string;
  /** Keeps a text with the run's results, such as how a boot went. */
  keep(evidence: string): void;
  /** Boots a machine; with an earlier result, that same machine once more. */
  boot(guest: Guest, after?: BootResult): Promise<BootResult>;
}

/**
 * Runs `body` on each suite, in each tier that it names; the runner's environment variables leave some of them out.
 * What fails shows where its logs are, and these stay.
 * @param tiers how each is booted
 * @param body gets tap's test to assert with
 */
export function scenario(
  name: string,
  tiers: Partial<Record<Tier, Boot>>,
  body: (t: Test, stage: Stage) => Promise<void>,
  onlySuites: readonly Suite[] = Object.keys(suites) as Suite[],
): void {
  const { VM_TESTS_SUITE: suiteWanted, VM_TESTS_TIER: tierWanted } = process.env;
  for (const [tier, boot] of Object.entries(tiers) as [Tier, Boot][]) {
    for (const suite of onlySuites) {
      const wanted = (suiteWanted ?? suite) === suite && (tierWanted ?? tier) === tier;
      record({ file: basename(process.argv[1] ?? ''), scenario: name, suite, tier, wanted });
      if (!wanted) continue;
      const title = `${name}, ${suite} (systemd ${suites[suite]}), ${tier}`;
      void t.test(title, UNLIMITED, async (t) => {
        await play(t, name, suite, tier, boot, body);
      });
    }
  }
}

async function play(
  t: Test,
  name: string,
  suite: Suite,
  tier: Tier,
  boot: Boot,
  body: (t: Test, stage: Stage) => Promise<void>,
): Promise<void> {
  const runs = join(cacheFolder(), 'runs');
  mkdirSync(runs, { recursive: true });
  const folder = mkdtempSync(join(runs, `${name.replaceAll(/\W+/g, '-')}-${suite}-${tier}-`));
  const boots: BootResult[] = [];
  const evidence: string[] = [];
  let ended = false;
  const stage: Stage = {
    suite,
    version: suites[suite],
    tier,
    folder,
    keep: (text) => evidence.push(text),
    async boot(guest, after) {
      const bootFolder = join(folder, `boot-${boots.length + 1}`);
      mkdirSync(bootFolder);
      const options = { scenario: name, folder: bootFolder, ...(after === undefined ? {} : { after }) };
      const result = await boot(suite, guest, options);
      boots.push(result);
      return result;
    },
  };
  try {
    await body(t, stage);
    ended = true;
  } finally {
    const passed = ended && t.passing();
    const seconds = boots.map(({ seconds }) => seconds);
    const took = seconds.map((one) => one.toFixed(1)).join(' + ');
    say(`${passed ? 'ok' : 'FAILED'}: ${name}, ${suite}, ${tier}, ${took} s`);
    record({ scenario: name, suite, tier, passed, seconds, evidence });
    if (passed) rmSync(folder, { recursive: true });
    else say(evidenceOf(folder, boots.at(-1)));
  }
}

/** What a failure shows. Not by tap's comments, which its short reports leave out. */
function evidenceOf(folder: string, last: BootResult | undefined): string {
  const logs = `logs: ${folder}`;
  if (last === undefined) return logs;
  return [
    logs,
    `the last boot: script's exit status ${last.status}, output:\n${last.output}`,
    ...(last.hung === null ? [] : [`it hung:\n${last.hung}`]),
    `its journal's end:\n${last.journal.trimEnd().split('\n').slice(-SHOWN_LINES).join('\n')}`,
  ].join('\n');
}
