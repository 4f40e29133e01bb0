import { randomBytes } from 'node:crypto';
import t, { type Test } from 'tap';
import { Secret } from '../../../src/base/secret.ts';
import { serverLimits } from '../../../src/base/server-limits.ts';
import { verifyAudit } from '../../../src/server/audit/verify.ts';
import { writeBackup } from '../../../src/server/store/backup.ts';
import type { DatabaseStore } from '../../../src/server/store/open.ts';
import { restoreBackup } from '../../../src/server/store/restore.ts';
import type { Store } from '../../../src/server/store/store.ts';
import { openAt, postgresPlace, sharedPostgres, sqlitePlace } from './backends.ts';
import {
  auditOf,
  countUp,
  machineNamed,
  newKey,
  newMachine,
  type Place,
  revoke,
  secretOf,
  stateFor,
  stateOf,
} from './stores.ts';

const passphrase = () => new Secret(Buffer.from('correct horse battery staple'));
const identity = Buffer.from('identity');
const asLocked = (state: object) => stateFor({ ...state, is: 'locked' });
const many = 230;

async function filled(t: Test, place: Place): Promise<DatabaseStore> {
  const store = await openAt(t, place);
  await store.transaction(async (tx) => {
    for (let n = 0; n < many; n++) {
      await tx.addMachine(newMachine(`m${n}`, { tang: n === 3 ? 'address' : null }));
      await tx.addKey(newKey(`id-of-m${n}`, `k${n}`), secretOf(`private ${n}`));
      tx.record({ who: 'operator', what: 'join', outcome: 'done', machine: `m${n}` });
    }
    await tx.setDeleted('k5', 77);
    await tx.addInvitation({ hash: randomBytes(32), name: 'new', expiresMs: 1_000_000, details: {} });
  });
  await revoke(store, 'm9');
  return store;
}

async function backupOf(store: Store): Promise<Buffer> {
  const parts: Buffer[] = [];
  const files = new Map([['identity', identity]]);
  await writeBackup(store, files, passphrase(), async (part) => {
    parts.push(part);
  });
  return Buffer.concat(parts);
}

async function* inPieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 10_007) yield bytes.subarray(at, at + 10_007);
}

const restore = async (t: Test, place: Place, backup: Buffer) => {
  const store = await openAt(t, place);
  const files = await restoreBackup(store, inPieces(backup), passphrase(), asLocked);
  return { store, files };
};

const anywhere = async (t: Test, kind: string) =>
  kind === 'SQLite' ? sqlitePlace(t) : await postgresPlace(t, await sharedPostgres());

for (const [from, to] of [
  ['SQLite', 'PostgreSQL'],
  ['PostgreSQL', 'SQLite'],
  ['SQLite', 'SQLite'],
] as const) {
  t.test(`from ${from} to ${to} on another host: all is there, and locked`, async (t) => {
    const source = await filled(t, await anywhere(t, from));
    const backup = await backupOf(source);
    t.notOk(backup.includes('private'));
    const { store, files } = await restore(t, await anywhere(t, to), backup);
    t.same(files.get('identity')?.reveal(), identity);
    t.same(await stateOf(store, 'm3'), { is: 'locked', n: 0 });
    t.same(await stateOf(store, 'm9'), { is: 'revoked', n: 0 });
    const [before, after] = await Promise.all([source, store].map((each) => auditOf(each)));
    t.same(after, before);
    t.ok(store.now().leaseMs >= source.now().leaseMs - 10_000);
    await store.transaction(async (tx) => {
      t.same((await machineNamed(tx, 'm3')).tang, 'address');
      t.equal((await machineNamed(tx, 'm9')).revoked, true);
      t.equal(await tx.key('k9'), null);
      t.equal((await tx.key('k5'))?.deletedMs, 77);
      using secret = await (await tx.key(`k${many - 1}`))?.open();
      t.same(secret?.reveal().toString(), `private ${many - 1}`);
      t.equal(await tx.machine('name', 'new'), null);
    });
    await countUp(store, 'm0', 'goes on');
    t.same((await verifyAudit(await auditOf(store), [], [])).faults, []);
  });
}

t.test('who was revoked after the backup stays revoked on a host that knows', async (t) => {
  const place = sqlitePlace(t);
  const source = await filled(t, place);
  const backup = await backupOf(source);
  await revoke(source, 'm3');
  await source.close();
  const { store } = await restore(t, { ...sqlitePlace(t), tombstones: place.tombstones }, backup);
  t.same(await stateOf(store, 'm3'), { is: 'revoked', n: 0 });
  t.same(await store.transaction((tx) => tx.keysOf('id-of-m3')), []);
});

t.test('into a store that is not empty: refused', async (t) => {
  const store = await filled(t, sqlitePlace(t));
  const backup = await backupOf(store);
  await t.rejects(restoreBackup(store, inPieces(backup), passphrase(), asLocked), { code: 'refused' });
});

t.test('another passphrase, a changed byte, a cut end, something else: nothing is restored', async (t) => {
  const backup = await backupOf(await filled(t, sqlitePlace(t)));
  const place = sqlitePlace(t);
  const store = await openAt(t, place);
  const change = (at: number) => {
    const changed = Buffer.from(backup);
    changed[at] = (changed[at] ?? 0) ^ 1;
    return changed;
  };
  const chunk = 65_552;
  const head = 40;
  const wrong: [title: string, bytes: Buffer][] = [
    ['magic', change(3)],
    ['salt', change(30)],
    ['last byte', change(backup.length - 1)],
    ['cut between chunks', backup.subarray(0, head + chunk)],
    ['cut in the head', backup.subarray(0, 30)],
    ['chunk left out', Buffer.concat([backup.subarray(0, head), backup.subarray(head + chunk)])],
    ['something after it', Buffer.concat([backup, Buffer.from('x')])],
    ['empty', Buffer.alloc(0)],
    ['something else', randomBytes(300_000)],
  ];
  t.ok(backup.length > head + chunk, 'more than one chunk');
  for (const [title, bytes] of wrong) {
    await t.rejects(
      restoreBackup(store, inPieces(bytes), passphrase(), asLocked),
      { code: 'damaged' },
      title,
    );
  }
  const other = new Secret(Buffer.from('another'));
  await t.rejects(restoreBackup(store, inPieces(backup), other, asLocked), {
    code: 'damaged',
    message: /passphrase/,
  });
  t.same(await store.snapshot((tx) => tx.machinesAfter('', 10)), []);
  t.same(await auditOf(store), []);
  await restoreBackup(store, inPieces(backup), passphrase(), asLocked);
  t.same(await stateOf(store, 'm0'), { is: 'locked', n: 0 }, 'and the right one still can be');
});

t.test('a backup is one state, whatever happens meanwhile', async (t) => {
  for (const kind of ['SQLite', 'PostgreSQL']) {
    const store = await filled(t, await anywhere(t, kind));
    let done = false;
    const meanwhile = (async () => {
      for (let n = 0; !done; n++) await countUp(store, `m${n % 9}`, `${n}`);
    })();
    const backup = await backupOf(store);
    done = true;
    await meanwhile;
    const restored = (await restore(t, sqlitePlace(t), backup)).store;
    const links = await auditOf(restored);
    const counted = links.filter((link) => link.text.includes('"count"')).length;
    let total = 0;
    for (let n = 0; n < 9; n++) total += Number((await stateOf(restored, `m${n}`))['n']);
    t.equal(total, counted, `${kind}: each count has its record`);
  }
});

t.test('what a restore would not take is told when the backup is made', async (t) => {
  const store = await openAt(t, sqlitePlace(t));
  const state = stateFor({ is: 'x'.repeat(serverLimits.backupLineBytes) });
  await store.transaction((tx) => tx.addMachine(newMachine('big', { state })));
  await t.rejects(backupOf(store), { code: 'damaged', message: /^backup: a machine takes \d+ bytes/ });
});
