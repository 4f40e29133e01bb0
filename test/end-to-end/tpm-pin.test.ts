import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { limits } from '../../src/base/limits.ts';
import { atTerminal, fails, fetchLuksKey } from '../support/command-line.ts';
import { BY_STDIN, machineWith } from '../support/enrolled.ts';
import { opens, PASSPHRASE } from '../support/luks.ts';
import { answerNext, openQuestions } from '../support/password-agent.ts';
import { setStage } from '../support/stage.ts';
import { ownFolder, ownSwtpm } from '../support/tpm.ts';

t.setTimeout(300_000);

const PIN = 'four words, no less';
const WITH_PIN = '{"with_pin": true}';
const id = (subject: string) => `fetch-luks-key:${subject}`;

async function place(t: Test) {
  const tpm = await ownSwtpm(t);
  const folder = ownFolder(t);
  const environment = { TPM2TOOLS_TCTI: tpm.tcti };
  const file = (name: string, content: string) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const run = (args: string[], input = '') => fetchLuksKey([...args, '--etc', folder], input, environment);
  const failures = () => {
    const text = tpm.run('/usr/bin/tpm2_getcap', ['properties-variable']).toString();
    return Number(/TPM2_PT_LOCKOUT_COUNTER: (0x[0-9A-Fa-f]+)/.exec(text)?.[1]);
  };
  const sealed = async (pin = PIN) => {
    const ended = await run(['seal', 'tpm2', WITH_PIN, '--tpm2-pin-file', file('pin', pin)], 'secret');
    t.equal(ended.status, 0, ended.stderr);
    return ended.stdout;
  };
  return { tpm, folder, environment, file, run, failures, sealed };
}

t.test('from files: the TPM takes the PIN, counts a wrong one, and hears of neither in clear', async (t) => {
  const { tpm, file, run, failures, sealed } = await place(t);
  const mark = tpm.mark();
  const jwe = file('x.jwe', await sealed(`${PIN}\n`));
  const open = (pin: string) => run(['open', jwe, '--tpm2-pin-file', file('other', pin)]);
  t.match(await open(PIN), { status: 0, stdout: 'secret' });
  t.equal(failures(), 0);
  fails(t, 'a wrong PIN', await open('wrong'), 4, /^--tpm2-pin-file: \S+: the TPM refuses this PIN/);
  t.equal(failures(), 1, 'asked once');
  fails(t, 'an empty one', await open('\n'), 2, /^--tpm2-pin-file: expected a PIN, got nothing/);
  const traffic = tpm.traffic(mark);
  for (const text of [PIN, 'secret']) t.notOk(traffic.includes(text), text);
  t.equal(tpm.leftovers(), '');
});

t.test('what does not go together', async (t) => {
  const { file, run, sealed } = await place(t);
  const both = '{"with_pin": true, "pcr_ids": "7"}';
  fails(
    t,
    'with PCRs',
    await run(['seal', 'tpm2', both, '--tpm2-pin-file', file('pin', PIN)], 'secret'),
    3,
    /^pin tpm2: pcr_ids: expected nothing beside "with_pin": true, got "7" \(hint: .*sss/,
  );
  fails(t, 'no terminal', await run(['seal', 'tpm2', WITH_PIN], 'secret'), 4, /no terminal.*--tpm2-pin-file/);
  const [header = '', ...rest] = (await sealed()).split('.');
  const parsed = JSON.parse(Buffer.from(header, 'base64url').toString());
  parsed.clevis.tpm2.pcr_ids = '7';
  parsed.clevis.tpm2.pcr_bank = 'sha256';
  parsed.clevis.tpm2.pcrs = { 7: Buffer.alloc(32).toString('base64url') };
  const forged = [Buffer.from(JSON.stringify(parsed)).toString('base64url'), ...rest].join('.');
  fails(
    t,
    'a forged header',
    await run(['open', file('x', forged)]),
    6,
    /pin_salt: expected nothing beside a policy/,
  );
});

t.test('at a terminal it is typed twice to seal, and once to open', async (t) => {
  const { folder, environment } = await place(t);
  const seal = `printf secret | $FETCH_LUKS_KEY seal tpm2 '${WITH_PIN}' --etc ${folder} > x.jwe`;
  const wrong = atTerminal(t, folder, seal, environment);
  await wrong.shows('New PIN for the TPM:');
  wrong.press('one\n');
  await wrong.shows('Again:');
  wrong.press('two\n');
  t.match(await wrong.ended, { status: 4, screen: /PIN: the second is not the first/ });
  const right = atTerminal(t, folder, seal, environment);
  await right.shows('New PIN for the TPM:');
  right.press('one\n');
  await right.shows('Again:');
  right.press('one\n');
  const { status, screen } = await right.ended;
  t.equal(status, 0, screen);
  t.notMatch(screen, /one/, 'not shown');
  const open = atTerminal(t, folder, `$FETCH_LUKS_KEY open x.jwe --etc ${folder} > out`, environment);
  await open.shows('TPM PIN for x.jwe:');
  open.press('two\n');
  await open.shows('Wrong PIN. TPM PIN for x.jwe:');
  open.press('one\n');
  t.match(await open.ended, { status: 0 });
});

t.test('a handler has the password agents ask', async (t) => {
  const { tpm, environment, sealed, failures } = await place(t);
  // More than a TPM allows at once by itself.
  tpm.run('/usr/bin/tpm2_dictionarylockout', ['-s', '-n', '16', '-t', '1000', '-l', '1000']);
  const stage = await setStage(t, { environment });
  const volumes = Object.entries({ data: '20s', slow: '3s', late: '2s' });
  stage.configure({
    volumes: Object.fromEntries(volumes.map(([name, time]) => [name, { 'give-up-after': time }])),
  });
  const jwe = await sealed();
  for (const [name] of volumes) stage.put(name, jwe);
  const delivered = (volume: string) => ({
    status: 0 as const,
    line: new RegExp(`^${volume}: key delivered, opened by tpm2 in`),
    gets: Buffer.from('secret'),
  });
  const opening = stage.shows(t, 'the second try', 'data', delivered('data'));
  t.equal(await answerNext(id('data'), 'wrong'), 'TPM PIN for data:');
  t.equal(await answerNext(id('data'), PIN), 'Wrong PIN. TPM PIN for data:');
  await opening;
  t.equal(failures(), 1);
  const slowly = stage.shows(t, 'each question has its own time', 'slow', delivered('slow'));
  for (const pin of ['wrong', PIN]) {
    await pause(2000);
    await answerNext(id('slow'), pin);
  }
  await slowly;
  const refusing = stage.shows(t, 'wrong each time', 'data', {
    status: 4,
    line: /^data: \S+: (tpm2: )?wrong PIN, 3 times \(hint: the TPM counts them/,
  });
  for (let count = 0; count < limits.pinTries; count++) await answerNext(id('data'), 'wrong');
  await refusing;
  await stage.shows(t, 'nobody is there', 'late', {
    status: 5,
    line: /^late: \S+: nobody has typed the PIN for late within 2 s \(hint: systemd-tty-ask-password-agent/,
  });
  t.equal(openQuestions(id('late')), 0, 'the question is taken back');
});

t.test('enroll: the machine’s state and the PIN; reseal to another PIN, rotate, unenroll', async (t) => {
  const { tpm, environment, file, failures } = await place(t);
  const machine = await machineWith(t, environment);
  const pinFile = (pin: string) => ['--tpm2-pin-file', file('pin', pin)];
  const ended = await machine.command('enroll', ['--tpm2', ...pinFile(PIN), ...BY_STDIN]);
  t.equal(ended.status, 0, ended.stderr);
  t.equal(ended.stderr, '', 'no warning that the TPM alone opens it');
  t.match(ended.stdout, /\n {2}opened by {3}tpm2 with a PIN\n/);
  t.match(
    ended.stdout,
    /\nproven: opens by its sealed key and your PIN\nat the next boot data asks for the PIN;/,
  );
  const boot = async (pin: string) => {
    const answer = machine.askAlone('data');
    await answerNext(id('data'), pin);
    return opens(machine.image.path, (await answer).bytes);
  };
  t.ok(await boot(PIN), 'as at boot');
  const unasked = await machine.command('reseal', ['--tpm2', '--unlock-key-file', '/no/such/file']);
  t.equal(unasked.status, 2, 'nobody is waited for who is not there');
  t.match(unasked.stderr, /as the sealed one does not open: .*no terminal to ask at: TPM PIN for data/);
  const fromTo = [...pinFile('another'), '--tpm2-old-pin-file', file('old', PIN)];
  const resealed = await machine.command('reseal', ['--tpm2', ...fromTo], '');
  t.equal(resealed.status, 0, resealed.stderr);
  t.match(resealed.stdout, /keyslot 1 as before/, 'the same key');
  t.equal(failures(), 0, 'no PIN is tried where another one belongs');
  t.ok(await boot('another'));
  const unknown = await machine.command('reseal', ['--tpm2', ...pinFile('third'), ...BY_STDIN]);
  t.equal(unknown.status, 0, unknown.stderr);
  t.match(unknown.stderr, /a new key takes its place, as the sealed one does not open: .*refuses this PIN/);
  t.equal(failures(), 1, 'once');
  t.ok(await boot('third'));
  const rotated = await machine.command('rotate', pinFile('third'));
  t.equal(rotated.status, 0, rotated.stderr);
  t.equal(failures(), 1);
  t.ok(await boot('third'));
  tpm.extend(7);
  const answer = machine.askAlone('data');
  t.match((await answer).lines, [/PCR 7 /], 'another state: refused, whatever is typed');
  const unenrolled = await machine.command('unenroll', BY_STDIN);
  t.equal(unenrolled.status, 0, unenrolled.stderr);
  t.ok(opens(machine.image.path, PASSPHRASE));
});
