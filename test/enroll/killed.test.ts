import t from 'tap';
import { BY_STDIN, type Machine, machineWith } from '../support/enrolled.ts';
import { killEverywhere } from '../support/kill-everywhere.ts';
import { startTang } from '../support/tang.ts';
import { ownSwtpm } from '../support/tpm.ts';

// Some fifty times two commands and a handler, on cores that other tests share.
t.setTimeout(1_800_000);

const tang = await startTang(t);
const POLICY = ['--tang', tang.url, '-y'];

const enrolled =
  (...more: string[]) =>
  async (machine: Machine) => {
    const { status, stderr } = await machine.command('enroll', [...POLICY, ...more, ...BY_STDIN]);
    if (status !== 0) throw new Error(stderr);
  };

let all = 0;

t.test('enroll', async (t) => {
  all += await killEverywhere(t, {
    command: 'enroll',
    args: [...POLICY, ...BY_STDIN],
    before() {},
    after: /^keyslots 0,1 tokens 0 enrolled 1 unfinished no$/,
    socketOpens: false,
    socketOpensAfter: true,
  });
});

t.test('enroll, while it undoes what it did', async (t) => {
  const another = await machineWith(t);
  all += await killEverywhere(t, {
    command: 'enroll',
    args: [...POLICY, ...BY_STDIN],
    failing: ['--socket', another.path],
    before() {},
    after: /^keyslots 0,1 tokens 0 enrolled 1 unfinished no$/,
    socketOpens: false,
    socketOpensAfter: true,
  });
});

t.test('enroll --file, over one that is there', async (t) => {
  all += await killEverywhere(t, {
    command: 'enroll',
    args: [...POLICY, '--file', ...BY_STDIN],
    before: enrolled('--file'),
    after: /^keyslots 0,1,2 tokens none enrolled 2 unfinished no$/,
    socketOpens: true,
    socketOpensAfter: true,
  });
});

t.test('rotate', async (t) => {
  all += await killEverywhere(t, {
    command: 'rotate',
    args: [],
    before: enrolled(),
    // The first one may have been through: then this one was the second.
    after: /^keyslots 0,[12] tokens [01] enrolled 1 unfinished no$/,
    socketOpens: true,
    socketOpensAfter: true,
  });
});

t.test('reseal', async (t) => {
  all += await killEverywhere(t, {
    command: 'reseal',
    args: [],
    before: enrolled(),
    after: /^keyslots 0,1 tokens [01] enrolled 1 unfinished no$/,
    socketOpens: true,
    socketOpensAfter: true,
  });
});

t.test('reseal with a new key', async (t) => {
  const tpm = await ownSwtpm(t);
  all += await killEverywhere(t, {
    command: 'reseal',
    args: BY_STDIN,
    environment: { TPM2TOOLS_TCTI: tpm.tcti },
    async before(machine) {
      const { status, stderr } = await machine.command('enroll', ['--tpm2', ...BY_STDIN]);
      if (status !== 0) throw new Error(stderr);
      tpm.extend(7);
    },
    // The first one may have been through: then this one keeps its key.
    after: /^keyslots 0,[12] tokens [01] enrolled 1 unfinished no$/,
    socketOpens: false,
    socketOpensAfter: true,
  });
});

t.test('recovery-key', async (t) => {
  all += await killEverywhere(t, {
    command: 'recovery-key',
    args: BY_STDIN,
    before() {},
    // A keyslot whose key nobody has seen may stay, or a key that was not shown in time: the doctor names the one, the
    // token the other.
    after: /^keyslots 0,1(?:,2)? tokens 0(?:,1)? enrolled 0 unfinished no$/,
    socketOpens: false,
    socketOpensAfter: false,
  });
});

t.test('unenroll', async (t) => {
  all += await killEverywhere(t, {
    command: 'unenroll',
    args: BY_STDIN,
    before: enrolled(),
    after: /^keyslots 0 tokens none enrolled 0 unfinished no$/,
    socketOpens: false,
    socketOpensAfter: false,
  });
});

t.test('that was everywhere', async (t) => {
  t.ok(all >= 25, `${all} points`);
});
