import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { DEFAULT_PROGRAM } from '../support/activation.ts';
import { sealerWith, vector } from '../support/sealing.ts';
import { comesTo, type Outcome, setStage } from '../support/stage.ts';
import { startSwtpm } from '../support/swtpm.ts';
import { startTang } from '../support/tang.ts';

const KEY = Buffer.from('in the chip');
const tpm = await startSwtpm();
t.teardown(() => tpm.remove());
const tang = await startTang(t);
const stage = await setStage(t, { environment: { TPM2TOOLS_TCTI: tpm.tcti } });
const locks = t.testdir();
const seal = sealerWith(tpm.tcti, locks);
const stock = { clevis: true, pcr_ids: '4,7' };

const delivered = (openedBy: string): Outcome => ({
  status: 0,
  line: new RegExp(`^data: key delivered, opened by ${openedBy} in \\d+ ms$`),
  gets: KEY,
});

const isClean = (t: Test) => t.equal(tpm.leftovers(), '', 'nothing is left in the TPM');

const gaveUp = '\\(gave up after \\d+ (?:try|tries) in [\\d.]+ s\\)';
const withoutTools = ['unshare', '-m', 'sh', '-c', 'mount --bind /dev/null /usr/bin/tpm2 && exec "$@"', 'sh'];
// libtss2-tcti-cmd speaks to a program in place of a TPM: that does to the tool what we want.
const tools: [title: string, tcti: string, status: 3 | 5, line: string, program?: string[]][] = [
  ['hanging', 'cmd:sleep 1000', 5, `.*: no (?:answer|result within 5 s) ${gaveUp}`],
  ['killed', 'cmd:kill -SEGV $PPID', 5, `/usr/bin/tpm2_\\w+: killed by SIGSEGV ${gaveUp}`],
  [
    'flooding',
    'cmd:yes >&2',
    5,
    `/usr/bin/tpm2_\\w+: expected at most 65536 bytes of error output, got more ${gaveUp}`,
  ],
  [
    'missing',
    tpm.tcti,
    3,
    '/usr/bin/tpm2_\\w+: cannot be started \\(EACCES\\) \\(hint: install the package tpm2-tools\\)',
    withoutTools,
  ],
];

/** Asked first and read last: it takes a while until a tool that hangs is given up. */
const misbehaving = tools.map(async ([title, tcti, status, line, program = []]) => {
  const stage = await setStage(t, {
    environment: { TPM2TOOLS_TCTI: tcti },
    program: [...program, ...DEFAULT_PROGRAM],
  });
  stage.put('data', vector('made-by-clevis-20-tpm2-no-policy'));
  stage.configure({ volumes: { data: { 'give-up-after': '3s' } } });
  const outcome: Outcome = { status, line: new RegExp(`^data: \\S+/data\\.jwe: ${line}$`) };
  return { title, answer: await stage.askAlone('data'), outcome };
});

t.test('opens what this TPM has sealed, and not what another has', async (t) => {
  const other = await startSwtpm();
  t.teardown(() => other.remove());
  for (const [title, config] of [
    ['our form', {}],
    ['Clevis’ form', stock],
  ] as const) {
    stage.put('data', await seal('tpm2', config, KEY));
    await stage.shows(t, `${title}, this TPM’s`, 'data', delivered('tpm2'));
    stage.put('data', await sealerWith(other.tcti, locks)('tpm2', config, KEY));
    await stage.shows(t, `${title}, another’s`, 'data', {
      status: 6,
      line: /^data: \S+\/data\.jwe: the (?:key was sealed by another TPM|TPM holds another storage key).*\(hint: open/,
    });
  }
  isClean(t);
});

t.test('names the PCRs that changed; others may open it all the same', async (t) => {
  const ours = await seal('tpm2', { pcr_ids: '4,7' }, KEY);
  const byClevis = await seal('tpm2', stock, KEY);
  const either = (t: number) =>
    seal('sss', { t, pins: { tpm2: { pcr_ids: '7' }, tang: { url: tang.url, thp: tang.thp } } }, KEY);
  const [one, both] = [await either(1), await either(2)];
  tpm.extend(7);
  const cases: [title: string, jwe: string, line: string][] = [
    ['ours', ours, 'tpm2: PCR 7 \\(bank sha256\\) changed since the key was sealed'],
    [
      'Clevis’',
      byClevis,
      'tpm2: one or more of PCRs 4, 7 \\(bank sha256\\) changed since the key was sealed',
    ],
    ['2 of 2', both, '2 of 2 needed: tpm2: PCR 7 \\(bank sha256\\) changed since the key was sealed'],
  ];
  for (const [title, jwe, line] of cases) {
    stage.put('data', jwe);
    const whole = new RegExp(`^data: \\S+/data\\.jwe: ${line} \\(hint: after a wanted change`);
    await stage.shows(t, title, 'data', { status: 4, line: whole });
  }
  // So that the TPM has said no before the server can answer.
  await tang.stop();
  stage.put('data', one);
  const asked = stage.askAlone('data');
  await pause(3000);
  await tang.start();
  const line = `^<4>data: key delivered, opened by tang ${tang.url} in \\d+ ms, without tpm2: PCR 7 \\(bank sha256\\) changed`;
  t.match(await asked, { status: 0, bytes: KEY, lines: [new RegExp(line)] }, '1 of 2');
  isClean(t);
});

t.test('a lockout is named, with its end', async (t) => {
  stage.configure({ volumes: { data: { 'give-up-after': '3s' } } });
  stage.put('data', await seal('tpm2', { clevis: true }, KEY));
  tpm.run('tpm2_dictionarylockout', ['--setup-parameters', '--max-tries=1', '--recovery-time=600']);
  const context = join(t.testdir(), 'guarded');
  tpm.run('tpm2_createprimary', ['-Q', '-c', context, '-p', 'right']);
  const guess = ['-Q', '-C', context, '-P', 'wrong', '-u', '/dev/null', '-r', '/dev/null', '-i-'];
  t.throws(() => tpm.run('tpm2_create', guess, 'x'));
  tpm.flush();
  await stage.shows(t, 'lockout', 'data', {
    status: 5,
    line: /^data: \S+: tpm2: the TPM is in lockout after 1 .* of at most 1: it ends within 600 s \(gave up .*\(hint: tpm2_dict/,
  });
  tpm.run('tpm2_dictionarylockout', ['--clear-lockout']);
  isClean(t);
});

t.test('without a TPM, until it is there again', async (t) => {
  stage.put('data', await seal('tpm2', { pcr_ids: '' }, KEY));
  await tpm.stop();
  stage.configure({ volumes: { data: { 'give-up-after': '3s' } } });
  await stage.shows(t, 'none', 'data', {
    status: 5,
    line: new RegExp(
      `^data: \\S+: tpm2: no TPM at ${tpm.tcti} \\(.*\\) \\(gave up after .* \\(hint: is the TPM switched on`,
    ),
  });
  stage.configure(null);
  const asked = stage.shows(t, 'late', 'data', delivered('tpm2'));
  await pause(1500);
  await tpm.restart();
  await asked;
  isClean(t);
});

t.test('whatever becomes of the tools', async (t) => {
  for (const { title, answer, outcome } of await Promise.all(misbehaving)) comesTo(t, title, answer, outcome);
});
