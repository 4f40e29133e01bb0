import { execFileSync } from 'node:child_process';
import { dirname } from 'node:path';
import pg from 'pg';
import t from 'tap';
import { startPostgres } from '../../support/postgres.ts';
import { openAt, postgresPlace, sharedPostgres } from './backends.ts';
import { countUp, machineNamed, newMachine, revoke, stateOf } from './stores.ts';

t.test('a read replica is refused, and nothing is written', async (t) => {
  const primary = await sharedPostgres();
  const place = await postgresPlace(t, primary);
  const store = await openAt(t, place);
  await store.transaction((tx) => tx.addMachine(newMachine('ada')));
  const replica = await startPostgres(t, (data, [prefix = '', ...rest]) => {
    const copy = [
      'pg_basebackup',
      '-R',
      '-h',
      dirname(primary.data),
      '-U',
      'keys',
      '-D',
      data,
      '--no-sync',
      '-c',
      'fast',
    ];
    execFileSync(prefix, [...rest, ...copy], { cwd: '/' });
  });
  const location = place.location.replace(dirname(primary.data), dirname(replica.data));
  await t.rejects(openAt(t, { ...place, location }), {
    code: 'bad-config',
    message: 'PostgreSQL: it is a read replica',
  });

  // One that becomes the primary is as good as any.
  const client = new pg.Client(location);
  await client.connect();
  await client.query('SELECT pg_promote()');
  await client.end();
  await store.close();
  t.equal(await countUp(await openAt(t, { ...place, location }), 'ada', 'promoted'), 1);
});

t.test('with fsync off it is refused, also when that comes later', async (t) => {
  const server = await startPostgres(t);
  const place = await postgresPlace(t, server);
  const store = await openAt(t, place);
  await store.transaction((tx) => tx.addMachine(newMachine('ada')));
  await server.stop();
  await server.start('fsync=off');
  const refused = { code: 'bad-config', message: 'PostgreSQL: fsync is off' };
  // The first may still find its old connection broken.
  await stateOf(store, 'ada').catch(() => {});
  await t.rejects(stateOf(store, 'ada'), refused);
  await t.rejects(openAt(t, place), refused);
  await server.stop();
  await server.start();
  await stateOf(store, 'ada').catch(() => {});
  t.same(await stateOf(store, 'ada'), { is: 'armed', n: 0 });
});

t.test('commits wait for the disk, whatever the server’s default', async (t) => {
  const server = await startPostgres(t);
  const place = await postgresPlace(t, server);
  await server.stop();
  await server.start('synchronous_commit=off');
  const store = await openAt(t, place);
  t.equal(await store.transaction((tx) => tx.addMachine(newMachine('ada'))), true);
  const off = `${place.location}&options=-c%20synchronous_commit%3Doff`;
  await t.rejects(openAt(t, { ...place, location: off }), {
    code: 'bad-config',
    message: /synchronous_commit is off/,
  });
});

t.test('a server that is not there, a database that is not, a newer schema', async (t) => {
  const place = await postgresPlace(t, await sharedPostgres());
  const elsewhere = place.location.replace(/host=.*/, 'host=/nowhere');
  await t.rejects(openAt(t, { ...place, location: elsewhere }), { code: 'unavailable', message: /ENOENT/ });
  const missing = place.location.replace(/store\d+/, 'missing');
  await t.rejects(openAt(t, { ...place, location: missing }), { code: 'bad-config', message: /"missing"/ });
  await (await openAt(t, place)).close();
  await place.tamper('UPDATE schema_version SET version = 99');
  await t.rejects(openAt(t, place), { code: 'bad-config', message: /schema version 1 or older, got 99/ });
});

t.test('several processes that start at once on an empty database', async (t) => {
  const place = await postgresPlace(t, await sharedPostgres());
  const stores = await Promise.all([1, 2, 3, 4].map(() => openAt(t, place)));
  await stores[0]?.transaction((tx) => tx.addMachine(newMachine('ada')));
  for (const store of stores) t.same(await stateOf(store, 'ada'), { is: 'armed', n: 0 });
});

t.test('after a fail-over to a copy that lagged, a revocation holds', async (t) => {
  const server = await startPostgres(t);
  const place = await postgresPlace(t, server);
  const store = await openAt(t, place);
  await store.transaction((tx) => tx.addMachine(newMachine('ada')));
  await revoke(store, 'ada');
  // What the copy had: the row as it was before, marked by this very server.
  const other = await postgresPlace(t, server);
  const lagging = await openAt(t, { ...other, masterKey: place.masterKey });
  await lagging.transaction((tx) => tx.addMachine(newMachine('ada')));
  await lagging.close();
  const [database = '', copy = ''] = [place, other].map(({ location }) => /store\d+/.exec(location)?.[0]);
  const admin = new pg.Client(place.location.replace(database, 'postgres'));
  await admin.connect();
  await admin.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS false`);
  await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [database]);
  await admin.query(`ALTER DATABASE ${database} RENAME TO gone`);
  await admin.query(`ALTER DATABASE ${copy} RENAME TO ${database}`);
  await admin.end();
  await stateOf(store, 'ada').catch(() => {});
  t.match(await store.transaction((tx) => machineNamed(tx, 'ada')), {
    revoked: true,
    state: { is: 'revoked' },
  });
});
