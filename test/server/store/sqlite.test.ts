import { spawnSync } from 'node:child_process';
import {
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t, { type Test } from 'tap';
import { type OpenPlace, openAt, sqlitePlace } from './backends.ts';
import { countUp, newMachine, stateOf } from './stores.ts';

/** A closed database with so many machines that it has many pages. */
async function filled(t: Test): Promise<OpenPlace> {
  const place = sqlitePlace(t);
  const store = await openAt(t, place);
  await store.transaction(async (tx) => {
    for (let n = 0; n < 500; n++) await tx.addMachine(newMachine(`m${n}`));
  });
  await store.close();
  return place;
}

t.test('its files are its owner’s alone, whatever the umask', async (t) => {
  const before = process.umask(0);
  const place = sqlitePlace(t);
  const store = await openAt(t, place);
  await store.transaction((tx) => tx.addMachine(newMachine('ada')));
  process.umask(before);
  const names = readdirSync(place.folder).filter((name) => name.startsWith('keys.db'));
  t.same(names.sort(), ['keys.db', 'keys.db-shm', 'keys.db-wal', 'keys.db.lock']);
  for (const name of names) t.equal(statSync(join(place.folder, name)).mode & 0o777, 0o600, name);
});

const broken: [title: string, breakIt: (path: string) => void][] = [
  ['emptied', (path) => truncateSync(path)],
  ['another file', (path) => writeFileSync(path, 'keep calm\n'.repeat(1_000))],
  ['its head overwritten', (path) => writeSync(openSync(path, 'r+'), Buffer.alloc(4096, 0xff), 0, 4096, 0)],
  [
    'a page in the middle overwritten',
    (path) => writeSync(openSync(path, 'r+'), Buffer.alloc(4096, 0x5a), 0, 4096, 4096 * 2),
  ],
  ['cut in half', (path) => truncateSync(path, Math.floor(statSync(path).size / 8192) * 4096)],
];

for (const [title, breakIt] of broken) {
  t.test(`a database that is broken, ${title}: said, and nothing overwritten`, async (t) => {
    const place = await filled(t);
    breakIt(place.location);
    const before = readFileSync(place.location);
    const expected = {
      code: 'damaged',
      message: new RegExp(`^${place.location}: `),
      hint: /restore your last backup/,
    };
    await t.rejects(openAt(t, place), expected);
    t.ok(readFileSync(place.location).equals(before), 'as it was');
  });
}

t.test('made by a newer program: refused, and left as it is', async (t) => {
  const place = await filled(t);
  await place.tamper('UPDATE schema_version SET version = 99');
  await t.rejects(openAt(t, place), { code: 'bad-config', message: /schema version 1 or older, got 99/ });
  using database = new DatabaseSync(place.location);
  t.same({ ...database.prepare('SELECT version FROM schema_version').get() }, { version: 99 });
});

t.test('a second process is kept off, and may come when the first has gone', async (t) => {
  const place = await filled(t);
  const store = await openAt(t, place);
  await t.rejects(openAt(t, place), { code: 'unavailable', message: `${place.location}: in use` });
  await countUp(store, 'm1', 'undisturbed');
  await store.close();
  t.same(await stateOf(await openAt(t, place), 'm1'), { is: 'armed', n: 1 });
});

t.test('what a start that was cut off left behind is no database', async (t) => {
  const place = sqlitePlace(t);
  writeFileSync(`${place.location}.new`, 'half a database');
  const store = await openAt(t, place);
  t.notOk(existsSync(`${place.location}.new`));
  t.same(await store.snapshot((tx) => tx.machinesAfter('', 1)), []);
});

t.test('a folder that is not there', async (t) => {
  const place = sqlitePlace(t);
  const location = join(place.folder, 'missing', 'keys.db');
  await t.rejects(openAt(t, { ...place, location }), { code: 'unavailable', message: /missing/ });
});

t.test('another program that holds a lock on it: not now, and then again', async (t) => {
  const place = await filled(t);
  const store = await openAt(t, place);
  using other = new DatabaseSync(place.location);
  other.exec('BEGIN IMMEDIATE');
  await t.rejects(countUp(store, 'm1', 'locked out'), { code: 'unavailable', message: /lock/ });
  other.exec('ROLLBACK');
  t.equal(await countUp(store, 'm1', 'again'), 1);
});

t.test('a full disk: not now, nothing half written, and then again', async (t) => {
  // A small file system of its own needs a mount namespace, so this runs in a process of its own.
  const script = join(import.meta.dirname, 'full-disk.ts');
  const place = sqlitePlace(t);
  const mount = `mount -t tmpfs -o size=3m tmpfs ${place.folder} && exec "$@"`;
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    ['--mount', 'sh', '-c', mount, 'sh', process.execPath, '--no-warnings', script, place.folder],
    { encoding: 'utf8' },
  );
  t.equal(status, 0, stderr);
  const { done, refused, counted, records, faults, after, revocation } = JSON.parse(stdout);
  t.ok(done > 10, `${done} before the disk was full`);
  t.same(refused, ['unavailable'], 'and then every one was refused');
  t.equal(counted, done, 'the state is that of the last one done');
  t.equal(records, done, 'and so is the audit log');
  t.same(faults, []);
  t.equal(revocation, 'unavailable');
  t.equal(after, done + 1, 'with room again it goes on');
});
