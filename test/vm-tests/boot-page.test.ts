import t from 'tap';
import { bootPage } from '../../vm-tests/harness/boot-page.ts';
import type { Suite, Tier } from '../../vm-tests/harness/guest.ts';
import type { Outcome } from '../../vm-tests/harness/results.ts';

const outcome = (scenario: string, suite: Suite, tier: Tier, more: Partial<Outcome> = {}): Outcome => {
  return { scenario, suite, tier, passed: true, seconds: [1.23], evidence: [], ...more };
};
const run = (tier: Tier, outcomes: readonly Outcome[]) => ({
  tier,
  outcomes,
  wallSeconds: 61.4,
  madeOf: '2026-11-25, commit 0123456789; base systems from the cache',
});

t.test('a row for each scenario, a cell for each version', async (t) => {
  const page = bootPage('', [
    run('container', [
      outcome('rescue mode', 'trixie', 'container', { seconds: [1.23, 4.56] }),
      outcome('rescue mode', 'bookworm', 'container', { passed: false }),
      outcome('crash', 'bookworm', 'container', { seconds: [] }),
      outcome('another', 'forky', 'container', { evidence: ['systemd 262\nchain\n'] }),
    ]),
  ]);
  t.match(page, '| scenario | systemd 252 (bookworm) | systemd 257 (trixie) | systemd 262 (forky) |');
  t.match(
    page,
    '| another | – | – | 1.2 |\n| crash | ok | – | – |\n| rescue mode | **failed** | 1.2 + 4.6 | – |\n',
  );
  t.match(page, '4 boots, two at a time; the whole run took 61 s.');
  t.match(page, 'Run of 2026-11-25, commit 0123456789; base systems from the cache.');
  t.match(page, '```\nanother, systemd 262\nchain\n```');
  t.notMatch(page, '## Virtual machines');
});

t.test('a run of one tier leaves the other as it was', async (t) => {
  const machines = run('machine', [outcome('tpm2', 'trixie', 'machine')]);
  const both = bootPage('', [run('container', [outcome('rescue mode', 'trixie', 'container')]), machines]);
  const later = bootPage(both, [run('container', [outcome('netdev', 'forky', 'container')])]);
  t.match(later, '| netdev | – | – | 1.2 |');
  t.notMatch(later, 'rescue mode');
  t.match(later, '| tpm2 | – | 1.2 | – |');
  t.equal(bootPage(later, [machines]), later, 'the same run gives the same page');
});
