import { spawn } from 'node:child_process';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { alterMessage, cutSeals, overwriteMessage } from '../support/journal-file.ts';
import { problems, sealedMachine } from '../support/journal-machine.ts';
import { startTang } from '../support/tang.ts';

// journald makes and seals 8 MiB for each file.
t.setTimeout(900_000);

const tang = await startTang(t);
const pin = ['tang', JSON.stringify({ url: tang.url, thp: tang.thp })];
const OTHER_KEY = '8d5984-507b1b-1aa8c4-a1fe6d/6b075e07-f4240';

t.test('an archived file that was changed, every ordinary hash with it', async (t) => {
  const machine = await sealedMachine(t, pin);
  const [before = ''] = machine.closed();
  await machine.logSealed('alice becomes root');
  const path = await machine.nextFile();
  const verify = async () => {
    const { status, files } = await machine.json('verify');
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
  const machine = await sealedMachine(t, pin);
  const passes = async () => (await machine.journalctl('--verify', `--verify-key=${key}`)).status;
  const key = (await machine.run('open', machine.path)).stdout;
  const sealing = `${machine.folder}/fss`;

  await machine.logSealed('alice becomes root');
  // journalctl counts what is not sealed from the end of the last seal's interval, up to one of them later.
  await pause(4500);
  await machine.log('much later');
  const path = await machine.nextFile();
  cutSeals(path);
  alterMessage(path, 'alice becomes root', 'cron does its work');
  t.equal(await passes(), 0);
  const { status, files } = await machine.json('verify');
  t.strictSame(
    { status, problems: problems(files) },
    { status: 6, problems: ['its last seals are missing'] },
  );
  rmSync(path);

  renameSync(sealing, `${sealing}~`);
  await machine.nextFile();
  await machine.log('nobody seals this');
  t.match(await machine.json('status'), { sealing: false, because: 'there is no sealing key' });
  renameSync(`${sealing}~`, sealing);
  t.match(await machine.json('status'), { sealing: false, because: /system\.journal is not sealed/ });
  await machine.nextFile();
  t.match(await machine.json('status'), { sealing: true });
  t.equal(await passes(), 0);
  const later = await machine.json('verify');
  t.equal(later.status, 6);
  t.strictSame(problems(later.files), ['not sealed, though journald seals what it writes']);
});

t.test('no other user sees the key while it is used', async (t) => {
  const machine = await sealedMachine(t, pin);
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
  const machine = await sealedMachine(t, pin);
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
  const { status, files } = await machine.json('verify');
  t.equal(status, 6, 'and its id: it verifies nothing');
  t.strictSame(problems(files), ['Tag failed verification: Bad message']);
  const noted = await verify('--key-id', machine.keyId);
  fails(t, 'by the id that was noted', noted, 6, new RegExp(`expected ${machine.keyId}, got ${id}`));
  writeFileSync(machine.path, 'a.b.c');
  fails(t, 'a broken sealed key', await verify(), 6, /verification-key\.jwe: /);
  t.match(await machine.json('status'), { status: 6, problem: /./ });
  writeFileSync(record, '{}');
  fails(t, 'a broken record', await verify(), 6, /sealing\.json: expected what journal setup wrote/);
  rmSync(record);
  rmSync(machine.path);
  fails(t, 'none', await verify(), 3, /no keys/);
});
