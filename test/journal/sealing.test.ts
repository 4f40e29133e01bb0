import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { type Ended, fails, fetchLuksKey } from '../support/command-line.ts';
import { alterMessage, cutSeals, overwriteMessage } from '../support/journal-file.ts';
import { type Journald, startJournald } from '../support/journald.ts';
import { startKeyServer } from '../support/key-server.ts';
import { startTang } from '../support/tang.ts';

// journald makes and seals 8 MiB for each file.
t.setTimeout(900_000);

const KEY = /^(?:[0-9a-f]{6}-){3}[0-9a-f]{6}\/[0-9a-f]+-[0-9a-f]+$/;
const OTHER_KEY = '8d5984-507b1b-1aa8c4-a1fe6d/6b075e07-f4240';

const tang = await startTang(t);
const pin = ['tang', JSON.stringify({ url: tang.url, thp: tang.thp })];

interface Machine extends Journald {
  readonly etc: string;
  /** Of the sealed verification key. */
  readonly path: string;
  run(...args: string[]): Promise<Ended>;
}

async function machineWith(t: Test, settings?: string): Promise<Machine> {
  const journald = await startJournald(t, settings);
  const etc = `${t.testdir()}/etc`;
  return {
    ...journald,
    etc,
    path: `${etc}/journal/verification-key.jwe`,
    run: (command, ...args) => fetchLuksKey([command, ...args, '--etc', etc], '', {}, journald.wrapper),
  };
}

/** One whose journal is sealed. */
async function sealedMachine(t: Test): Promise<Machine & { readonly keyId: string }> {
  const machine = await machineWith(t);
  await machine.log('from before');
  const { status, stdout, stderr } = await machine.run('journal', 'setup', ...pin, '--interval', '1s');
  t.equal(status, 0, stderr);
  return { ...machine, keyId: stdout.trim() };
}

async function json(machine: Machine, ...args: string[]) {
  const { status, stdout } = await machine.run('journal', ...args, '--json');
  return { status, ...JSON.parse(stdout) };
}

/** Files that journald has closed. */
const closed = ({ folder }: Machine) =>
  readdirSync(folder)
    .filter((name) => name.includes('@'))
    .map((name) => `${folder}/${name}`);

async function nextFile(machine: Machine): Promise<string> {
  const before = closed(machine);
  await machine.journalctl('--rotate');
  return closed(machine).find((path) => !before.includes(path)) ?? '';
}

/** An entry that is sealed: the interval is over, and another entry there. */
async function logSealed(machine: Machine, message: string): Promise<void> {
  await machine.log(message);
  await pause(1200);
  await machine.log('the next');
}

const problems = (files: { problem: string | null }[]) => files.flatMap(({ problem }) => problem ?? []);

t.test('from nothing to a journal that is sealed and verified', async (t) => {
  const machine = await machineWith(t);
  await machine.log('from before');
  t.match(await json(machine, 'status'), {
    status: 0,
    sealing: false,
    because: 'there is no sealing key',
    since: null,
  });
  fails(t, 'nothing to verify by', await machine.run('journal', 'verify'), 3, /etc\/journal: no keys/);

  const { status, stdout, stderr } = await machine.run('journal', 'setup', ...pin, '--interval', '1s');
  t.equal(status, 0, stderr);
  t.match(stdout, /^[0-9a-f]{24}\n$/, 'the key has a name, which is all that is shown of it');
  t.match(stderr, /^journald seals since \d{4}-.*\nnote its id elsewhere/);
  t.equal(statSync(machine.path).mode & 0o777, 0o600);
  const key = (await machine.run('open', machine.path)).stdout;
  t.match(key, KEY, 'open has the verification key, for paper');
  t.ok(key.endsWith('-f4240'), 'of a second');

  await logSealed(machine, 'somebody logs in');
  await nextFile(machine);
  await machine.log('and out');
  const verified = await json(machine, 'verify');
  t.match(verified, { status: 0, 'key-id': stdout.trim(), verified: { intact: true } });
  t.strictSame(
    verified.files.map(({ sealed }: { sealed: boolean }) => sealed).toSorted(),
    [false, true, true],
    'one is from before',
  );
  t.strictSame(problems(verified.files), []);
  const now = await machine.run('journal', 'status');
  t.match(
    now.stdout,
    /^sealing +on\nsince +\d{4}-.*\nkey +[0-9a-f]{24}\nopens by +tang .*jwe\nlast verify +\d{4}-.*: intact\n$/,
  );
  t.equal(
    (await machine.run('journal', 'verify', '--key-id', stdout.trim())).status,
    0,
    'by the id that was noted',
  );

  const again = await machine.run('journal', 'setup', ...pin);
  fails(t, 'keys are there', again, 4, /\/fss: is there already \(hint: to begin anew/);
  renameSync(`${machine.folder}/fss`, `${machine.folder}/fss~`);
  const half = await machine.run('journal', 'setup', ...pin);
  fails(t, 'the one that verifies what there is', half, 4, /verification-key\.jwe: is there already/);
});

t.test('an archived file that was changed, every ordinary hash with it', async (t) => {
  const machine = await sealedMachine(t);
  const [before = ''] = closed(machine);
  await logSealed(machine, 'alice becomes root');
  const path = await nextFile(machine);
  const verify = async () => {
    const { status, files } = await json(machine, 'verify');
    return { status, problems: problems(files) };
  };
  t.strictSame(await verify(), { status: 0, problems: [] });

  alterMessage(before, 'from before', 'of no value');
  t.strictSame(await verify(), { status: 0, problems: [] }, 'without seals nobody finds it');
  t.match(
    (await machine.journalctl('--output=cat')).stdout,
    /^of no value$/m,
    'and it is what the journal says',
  );
  alterMessage(path, 'alice becomes root', 'cron does its work');
  t.match((await machine.journalctl('--output=cat')).stdout, /^cron does its work$/m);
  t.strictSame(await verify(), { status: 6, problems: ['Tag failed verification: Bad message'] });
  const { status, stdout, stderr } = await machine.run('journal', 'verify');
  t.equal(status, 6);
  t.match(stdout, `${path.slice(path.indexOf('/var'))}: NOT INTACT: Tag failed verification`);
  t.match(
    stderr,
    /^the journal is not what journald wrote: 1 of 3 files, by verification key [0-9a-f]{24}\n$/,
  );
  t.match((await machine.run('journal', 'status')).stdout, /last verify .*: NOT INTACT/);

  alterMessage(path, 'cron does its work', 'alice becomes root');
  t.strictSame(await verify(), { status: 0, problems: [] }, 'as it was, it is intact');
  overwriteMessage(path, 'alice becomes root', 'cron does its work');
  t.match(await verify(), { status: 6, problems: [/Invalid object contents/] }, 'clumsily');
});

t.test('a file without seals, or without its last ones, which journalctl takes for intact', async (t) => {
  const machine = await sealedMachine(t);
  const passes = async () => (await machine.journalctl('--verify', `--verify-key=${key}`)).status;
  const key = (await machine.run('open', machine.path)).stdout;
  const sealing = `${machine.folder}/fss`;

  await logSealed(machine, 'alice becomes root');
  await pause(2500);
  await machine.log('much later');
  const path = await nextFile(machine);
  cutSeals(path);
  alterMessage(path, 'alice becomes root', 'cron does its work');
  t.equal(await passes(), 0);
  const { status, files } = await json(machine, 'verify');
  t.strictSame(
    { status, problems: problems(files) },
    { status: 6, problems: ['its last seals are missing'] },
  );
  rmSync(path);

  renameSync(sealing, `${sealing}~`);
  await nextFile(machine);
  await machine.log('nobody seals this');
  t.match(await json(machine, 'status'), { sealing: false, because: 'there is no sealing key' });
  renameSync(`${sealing}~`, sealing);
  t.match(await json(machine, 'status'), { sealing: false, because: /system\.journal is not sealed/ });
  await nextFile(machine);
  t.match(await json(machine, 'status'), { sealing: true });
  t.equal(await passes(), 0);
  const later = await json(machine, 'verify');
  t.equal(later.status, 6);
  t.strictSame(problems(later.files), ['not sealed, though journald seals what it writes']);
});

t.test('no other user sees the key while it is used', async (t) => {
  const machine = await sealedMachine(t);
  const key = (await machine.run('open', machine.path)).stdout;
  const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups'];
  const watch = "while :; do grep -ahs -e '--verif[y]' /proc/[0-9]*/cmdline /proc/[0-9]*/environ; done";
  const watcher = spawn('setpriv', [...nobody, 'sh', '-c', watch], { stdio: ['ignore', 'pipe', 'ignore'] });
  t.teardown(() => watcher.kill());
  let seen = '';
  watcher.stdout.setEncoding('utf8').on('data', (more: string) => {
    seen += more.replaceAll('\0', ' ');
  });
  while (!seen.includes('journalctl --verify')) t.equal((await machine.run('journal', 'verify')).status, 0);
  t.match(seen, /journalctl --verify --no-pager --directory=\S+ \[secret\] /, 'all that they see');
  t.notMatch(seen, key);
  t.notMatch(seen, 'verify-key');
});

t.test('keys that were replaced', async (t) => {
  const machine = await sealedMachine(t);
  const record = `${machine.etc}/journal/sealing.json`;
  const replace = async (secret: string) => {
    const { status, stdout, stderr } = await fetchLuksKey(['seal', ...pin], secret);
    t.equal(status, 0, stderr);
    writeFileSync(machine.path, stdout);
  };
  const verify = (...args: string[]) => machine.run('journal', 'verify', ...args);
  await replace('not a key');
  fails(
    t,
    'another secret',
    await verify(),
    6,
    /jwe: expected a verification key of journald, got another secret/,
  );
  await replace(OTHER_KEY);
  fails(
    t,
    'another key',
    await verify(),
    6,
    /expected [0-9a-f]{24} as recorded, got [0-9a-f]{24} \(hint: somebody/,
  );
  const [, id = ''] = /got ([0-9a-f]{24})/.exec((await verify()).stderr) ?? [];
  writeFileSync(record, readFileSync(record, 'utf8').replace(machine.keyId, id));
  const { status, files } = await json(machine, 'verify');
  t.equal(status, 6, 'and its id: it verifies nothing');
  t.strictSame(problems(files), ['Tag failed verification: Bad message']);
  const noted = await verify('--key-id', machine.keyId);
  fails(t, 'by the id that was noted', noted, 6, new RegExp(`expected ${machine.keyId}, got ${id}`));
  writeFileSync(machine.path, 'a.b.c');
  fails(t, 'a broken sealed key', await verify(), 6, /verification-key\.jwe: /);
  t.match(await json(machine, 'status'), { status: 6, problem: /./ });
  writeFileSync(record, '{}');
  fails(t, 'a broken record', await verify(), 6, /sealing\.json: expected what journal setup wrote/);
  rmSync(record);
  rmSync(machine.path);
  fails(t, 'none', await verify(), 3, /no keys/);
});

t.test('what cannot be set up leaves nothing', async (t) => {
  const without = await machineWith(t, 'Storage=volatile');
  const volatile = await without.run('journal', 'setup', ...pin);
  fails(t, 'not persistent', volatile, 3, /system\.journal: no such file: the journal is not persistent/);
  t.match(await json(without, 'status'), { sealing: false, because: 'the journal is not persistent' });
  const nothing = (machine: Machine) => {
    t.notOk(existsSync(`${machine.folder}/fss`));
    t.notOk(existsSync(machine.path));
  };
  nothing(without);
  const unwilling = await machineWith(t, 'Storage=persistent\nSeal=no');
  await unwilling.log('here');
  const refused = await unwilling.run('journal', 'setup', ...pin);
  fails(t, 'Seal=no', refused, 3, /journald has the key, and does not seal \(hint: is there Seal=no/);
  nothing(unwilling);
  const away = ['tang', JSON.stringify({ url: 'http://127.0.0.1:9', thp: tang.thp })];
  fails(t, 'no server', await unwilling.run('journal', 'setup', ...away), 5, /connection refused/);
  nothing(unwilling);
  fails(
    t,
    'bad JSON',
    await unwilling.run('journal', 'setup', 'tang', '{'),
    3,
    /^journal: CONFIG: expected JSON/,
  );
  for (const args of [
    ['setup'],
    ['setup', 'tang'],
    ['verify', 'tang', '{}'],
    ['status', '--yes'],
    ['erase'],
  ]) {
    fails(
      t,
      args.join(' '),
      await unwilling.run('journal', ...args),
      2,
      /^journal: expected setup PIN CONFIG/,
    );
  }
  const often = await unwilling.run('journal', 'setup', ...pin, '--interval', '1ms');
  fails(t, 'too often', often, 2, /--interval: expected 1s or more, got 1ms/);
});

t.test('a key server has the id in its audit log', async (t) => {
  const server = await startKeyServer(t);
  const machine = await machineWith(t);
  await machine.log('from before');
  const joined = await fetchLuksKey(
    ['join', '--name', 'home', '--etc', machine.etc],
    await server.invite('nas'),
  );
  t.equal(joined.status, 0, joined.stderr);
  const { status, stdout, stderr } = await machine.run('journal', 'setup', ...pin);
  t.equal(status, 0, stderr);
  t.match(stderr, "home: has the key's id in its audit log");
  const log = (await server.command('audit', 'export')).stdout.split('\n');
  t.match(
    log.find((line) => line.includes('journal-sealed')),
    `verification key ${stdout.trim()} since `,
  );
});
