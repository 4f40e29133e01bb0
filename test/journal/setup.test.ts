import { existsSync, renameSync, statSync } from 'node:fs';
import t from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { type JournalMachine, journalMachine, problems } from '../support/journal-machine.ts';
import { startKeyServer } from '../support/key-server.ts';
import { startTang } from '../support/tang.ts';

// journald makes and seals 8 MiB for each file.
t.setTimeout(900_000);

const tang = await startTang(t);
const pin = ['tang', JSON.stringify({ url: tang.url, thp: tang.thp })];
const KEY = /^(?:[0-9a-f]{6}-){3}[0-9a-f]{6}\/[0-9a-f]+-[0-9a-f]+$/;

t.test('from nothing to a journal that is sealed and verified', async (t) => {
  const machine = await journalMachine(t);
  await machine.log('from before');
  t.match(await machine.json('status'), {
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

  await machine.logSealed('somebody logs in');
  await machine.nextFile();
  await machine.log('and out');
  const verified = await machine.json('verify');
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

t.test('what cannot be set up leaves nothing', async (t) => {
  const without = await journalMachine(t, 'Storage=volatile');
  const volatile = await without.run('journal', 'setup', ...pin);
  fails(t, 'not persistent', volatile, 3, /system\.journal: no such file: the journal is not persistent/);
  t.match(await without.json('status'), { sealing: false, because: 'the journal is not persistent' });
  const nothing = (machine: JournalMachine) => {
    t.notOk(existsSync(`${machine.folder}/fss`));
    t.notOk(existsSync(machine.path));
  };
  nothing(without);
  const unwilling = await journalMachine(t, 'Storage=persistent\nSeal=no');
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
  const machine = await journalMachine(t);
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
