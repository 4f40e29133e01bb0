import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { follow, missing, type Outcome, readResults } from '../../vm-tests/harness/results.ts';
import { run } from '../support/run.ts';

/** What a file of scenarios tells the runner, and whoever reads what failed. */

const ROOT = resolve(import.meta.dirname, '../..');
const SCENARIO = join(ROOT, 'vm-tests/harness/scenario.ts');
const GUEST = join(ROOT, 'vm-tests/harness/guest.ts');
const TAP = [join(ROOT, 'node_modules/.bin/tap'), '--reporter=terse', '--no-color'];

/** Boots nothing: what a boot that hangs comes to. */
const HANGS = `import { scenario } from '${SCENARIO}';
import { plainGuest } from '${GUEST}';
const boot = async (_suite, _guest, { folder }) => ({
  status: null, output: 'half', journal: 'the end of the journal', hung: '12 wrecker.service start running',
  failedUnits: [], seconds: 1, folder,
});
scenario('hangs', { container: boot }, async (t, stage) => {
  t.equal((await stage.boot(plainGuest)).hung, null);
});
scenario('waits', { machine: boot }, async () => {}, ['bookworm']);
`;

/** Runs it as the runner does. */
async function play(folder: string, content: string, environment: Readonly<Record<string, string>>) {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'some.test.ts');
  const results = join(folder, 'results');
  writeFileSync(file, content);
  const PATH = `${join(ROOT, 'node_modules/.bin')}:/usr/bin:/bin`;
  const asked = { PATH, VM_TESTS_RESULTS: results, XDG_CACHE_HOME: folder, CI: 'true', ...environment };
  const { status } = await run([...TAP, '--disable-coverage', file], Buffer.alloc(0), asked);
  return { status, results: readResults(results) };
}

t.test('a failure shows its logs, what hung, and the journal', async (t) => {
  const asked = { VM_TESTS_SUITE: 'trixie', VM_TESTS_TIER: 'container' };
  const { status, results } = await play(t.testdir(), HANGS, asked);
  t.not(status, 0);
  const said = results.said.join('\n');
  t.match(said, /^FAILED: hangs, trixie, container/m);
  t.match(said, /^logs: \S+hangs-trixie-container-/m);
  t.match(said, /^it hung:\n12 wrecker\.service start running$/m);
  t.match(said, /^its journal's end:\nthe end of the journal$/m);
  t.strictSame(
    results.outcomes.map(({ scenario, suite, passed }) => ({ scenario, suite, passed })),
    [{ scenario: 'hangs', suite: 'trixie', passed: false }],
  );
  t.strictSame(
    results.declarations.map(({ file, scenario, suite, wanted }) => [file, scenario, suite, wanted]),
    [
      ['some.test.ts', 'hangs', 'bookworm', false],
      ['some.test.ts', 'hangs', 'trixie', true],
      ['some.test.ts', 'hangs', 'forky', false],
      ['some.test.ts', 'waits', 'bookworm', false],
    ],
  );
  t.strictSame(missing(results, ['some.test.ts']), []);
});

t.test('a file that declares nothing is missed, for all that tap says', async (t) => {
  const { status, results } = await play(t.testdir(), 'export {};\n', {});
  t.equal(status, 0, 'tap takes it for nothing to do');
  t.strictSame(missing(results, ['some.test.ts']), ['some.test.ts declares no scenario']);
});

t.test('what is said is shown once, and all of it before the end', async (t) => {
  const file = join(t.testdir(), 'results');
  const shown: string[] = [];
  const end = follow(file, (text) => shown.push(text));
  writeFileSync(file, '{"said":"one\\ntwo"}\n{"said":"three"}\n{"said":"half');
  end();
  t.strictSame(shown, ['one\ntwo', 'three']);
});

t.test('a scenario without a result is missed, unless nobody asked for it', async (t) => {
  const one = { file: 'a.test.ts', scenario: 'one', suite: 'forky', tier: 'machine', wanted: true } as const;
  const outcome = { scenario: 'one', suite: 'forky', tier: 'machine', passed: true } as Outcome;
  const other = { ...one, suite: 'trixie' } as const;
  const results = { declarations: [one, other], outcomes: [outcome] };
  t.strictSame(missing(results, ['a.test.ts']), ['one, trixie, machine has no result']);
  const unwanted = { ...results, declarations: [one, { ...other, wanted: false }] };
  t.strictSame(missing(unwanted, ['a.test.ts']), []);
});
