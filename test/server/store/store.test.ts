import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { AppError } from '../../../src/base/errors.ts';
import { headSigner } from '../../../src/server/audit/heads.ts';
import { verifyAudit } from '../../../src/server/audit/verify.ts';
import { onBoth, openAt } from './backends.ts';
import {
  auditOf,
  countUp,
  machineNamed,
  newKey,
  newMachine,
  revoke,
  secretOf,
  stateFor,
  stateOf,
} from './stores.ts';

const hashOf = (text: string) => createHash('sha256').update(text).digest();

onBoth('a machine is found by id, name, pin and Tang address', async (t, place) => {
  const store = await openAt(t, place);
  const ada = newMachine('ada', {
    tang: 'address',
    state: stateFor({ is: 'ü', ...{ list: [1, null, { deep: true }] } }),
  });
  const bob = newMachine('bob', { pin: null });
  const added = await store.transaction(async (tx) => [await tx.addMachine(ada), await tx.addMachine(bob)]);
  t.same(added, [true, true]);
  const found = await store.transaction(async (tx) => [
    await tx.machine('id', ada.id),
    await tx.machine('name', 'ada'),
    await tx.machine('pin', ada.pin ?? ''),
    await tx.machine('tang', 'address'),
  ]);
  for (const machine of found) t.same(machine, { ...ada, revoked: false, version: 1 });
  t.same(
    await store.transaction(async (tx) => [
      await tx.machine('name', 'eve'),
      await tx.machine('pin', randomBytes(32)),
      await tx.machine('tang', ''),
    ]),
    [null, null, null],
  );
  await store.close();
  const again = await openAt(t, place);
  t.same(await stateOf(again, 'ada'), ada.state, 'and after a restart');
});

onBoth('name, pin and Tang address belong to one machine', async (t, place) => {
  const store = await openAt(t, place);
  const ada = newMachine('ada', { tang: 'address' });
  const add = (machine: typeof ada) => store.transaction((tx) => tx.addMachine(machine));
  t.equal(await add(ada), true);
  t.equal(await add(newMachine('ada')), false);
  t.equal(await add(newMachine('bob', { pin: ada.pin ?? null })), false);
  t.equal(await add(newMachine('bob', { tang: 'address' })), false);
  t.equal(await add(newMachine('bob', { id: ada.id })), false);
  t.equal(await add(newMachine('bob')), true);
});

onBoth('machines are listed by name, page by page', async (t, place) => {
  const store = await openAt(t, place);
  await store.transaction(async (tx) => {
    for (const name of ['c', 'a', 'b']) await tx.addMachine(newMachine(name));
  });
  const page = (after: string, count: number) =>
    store.snapshot(async (tx) => (await tx.machinesAfter(after, count)).map(({ name }) => name));
  t.same(await page('', 2), ['a', 'b']);
  t.same(await page('b', 2), ['c']);
  t.match(await store.snapshot((reader) => reader.machine('name', 'a')), { name: 'a', revoked: false });
});

onBoth('what fails changes nothing', async (t, place) => {
  const store = await openAt(t, place);
  await store.transaction((tx) => tx.addMachine(newMachine('ada')));
  const failing = store.transaction(async (tx) => {
    const machine = await machineNamed(tx, 'ada');
    await tx.saveState({ ...machine, state: stateFor({ is: 'locked' }) });
    tx.record({ who: 'operator', what: 'lock', outcome: 'done' });
    throw new AppError('refused', 'no');
  });
  // Shares its commit with the one that fails, where the database does that.
  const beside = countUp(store, 'ada', 'beside');
  await t.rejects(failing, { code: 'refused' });
  t.equal(await beside, 1);
  t.same(await stateOf(store, 'ada'), { is: 'armed', n: 1 });
  t.equal((await auditOf(store)).length, 1);
});

onBoth('transactions on one machine come one after the other', async (t, place) => {
  const store = await openAt(t, place);
  await store.transaction((tx) => tx.addMachine(newMachine('ada')));
  const seen = await Promise.all(
    Array.from({ length: 100 }, (_, index) => countUp(store, 'ada', `${index}`)),
  );
  t.same(
    seen.sort((a, b) => a - b),
    Array.from({ length: 100 }, (_, index) => index + 1),
  );
  const links = await auditOf(store);
  t.equal(links.length, 100);
  t.same((await verifyAudit(links, [], [])).faults, []);
});

onBoth('exchange keys: sealed, found, deleted softly, brought back, destroyed', async (t, place) => {
  const store = await openAt(t, place);
  await store.transaction(async (tx) => {
    await tx.addMachine(newMachine('ada'));
    for (const kid of ['k1', 'k2']) await tx.addKey(newKey('id-of-ada', kid), secretOf(`private ${kid}`));
  });
  t.equal(await store.transaction((tx) => tx.addKey(newKey('id-of-ada', 'k1'), secretOf('other'))), false);
  const open = (kid: string) =>
    store.transaction(async (tx) => {
      using secret = await (await tx.key(kid))?.open();
      return secret?.reveal().toString();
    });
  t.equal(await open('k1'), 'private k1');
  const deleted = () =>
    store.transaction(async (tx) => (await tx.keysOf('id-of-ada')).map((key) => [key.kid, key.deletedMs]));
  await store.transaction((tx) => tx.setDeleted('k1', 1_000));
  t.same(await deleted(), [
    ['k1', 1_000],
    ['k2', null],
  ]);
  t.equal(await store.transaction((tx) => tx.destroyDeleted(999)), 0);
  await store.transaction((tx) => tx.setDeleted('k1', null));
  t.equal(await store.transaction((tx) => tx.destroyDeleted(5_000)), 0);
  t.equal(await open('k1'), 'private k1', 'brought back');
  await store.transaction((tx) => tx.setDeleted('k1', 1_000));
  t.equal(await store.transaction((tx) => tx.destroyDeleted(1_000)), 1);
  t.same(await deleted(), [['k2', null]]);
  t.equal(await open('k1'), undefined);
});

onBoth('an invitation is used once, in time, and the latest for its name', async (t, place) => {
  const store = await openAt(t, place);
  const invite = (text: string, name = 'ada') =>
    store.transaction((tx) =>
      tx.addInvitation({ hash: hashOf(text), name, expiresMs: 5_000, details: { text } }),
    );
  const take = (text: string, nowMs: number) =>
    store.transaction((tx) => tx.takeInvitation(hashOf(text), nowMs));
  await invite('one');
  t.equal(await take('forged', 0), null);
  t.match(await take('one', 4_999), { name: 'ada', details: { text: 'one' } });
  t.equal(await take('one', 4_999), null, 'used');
  await invite('two');
  t.equal(await take('two', 5_000), null, 'expired at that very instant');
  await invite('three');
  await invite('four');
  t.equal(await take('three', 0), null, 'replaced');
  await invite('five', 'bob');
  const racing = await Promise.all(Array.from({ length: 8 }, () => take('four', 0)));
  t.equal(racing.filter((taken) => taken !== null).length, 1, 'of several who try one gets it');
  t.match(await take('five', 0), { name: 'bob' });
});

onBoth('the audit log is a chain, with signed heads beside it', async (t, place) => {
  const store = await openAt(t, place);
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const sign = headSigner(privateKey);
  await store.transaction((tx) => tx.addMachine(newMachine('ada')));
  for (let n = 1; n <= 5; n++) {
    await countUp(store, 'ada', `request ${n}`);
    await store.transaction(async (tx) => tx.saveHead(sign(await tx.auditHead(), store.now().wallMs)));
  }
  await store.close();
  const again = await openAt(t, place);
  const heads = await again.snapshot((tx) => tx.headsAfter(0, 10));
  t.same(
    heads.map(({ seq }) => seq),
    [1, 2, 3, 4, 5],
  );
  const verdict = await verifyAudit(await auditOf(again), heads, [publicKey]);
  t.same(verdict.faults, []);
  t.same(verdict.head, await again.transaction((tx) => tx.auditHead()));
  await again.close();
  await place.tamper("UPDATE audit SET record = replace(record, 'request 3', 'request 9') WHERE seq = 3");
  await place.tamper('DELETE FROM audit WHERE seq = 5');
  const links = await auditOf(await openAt(t, place));
  t.same((await verifyAudit(links, heads, [publicKey])).faults, [
    { kind: 'edited', seq: 3 },
    { kind: 'truncated', seq: 5 },
  ]);
});

onBoth('events come after the commit, and only then', async (t, place) => {
  const store = await openAt(t, place);
  await store.transaction((tx) => tx.addMachine(newMachine('ada')));
  const seen: string[] = [];
  const { promise: told, resolve } = Promise.withResolvers<void>();
  const unsubscribe = store.subscribe(({ kind, machine }) => {
    if (kind === 'resync') return;
    seen.push(`${kind} ${machine}`);
    if (kind === 'revoked') resolve();
  });
  await store
    .transaction(async (tx) => {
      await tx.announce(await machineNamed(tx, 'ada'));
      throw new AppError('refused', 'no');
    })
    .catch(() => {});
  await store.transaction(async (tx) => tx.announce(await machineNamed(tx, 'ada')));
  await revoke(store, 'ada');
  await told;
  t.same(seen, ['changed id-of-ada', 'revoked id-of-ada']);
  unsubscribe();
});

onBoth('after the end nothing works, and ending twice does no harm', async (t, place) => {
  const store = await openAt(t, place);
  await store.close();
  await store.close();
  await t.rejects(
    store.transaction((tx) => tx.auditHead()),
    { code: 'unavailable' },
  );
});
