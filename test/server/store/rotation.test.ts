import { randomBytes } from 'node:crypto';
import t from 'tap';
import { MasterKey } from '../../../src/server/master/master-key.ts';
import { rotateMaster } from '../../../src/server/store/rotation.ts';
import { onBoth, openAt } from './backends.ts';
import { countUp, machineNamed, newKey, newMachine, secretOf, stateFor, stateOf } from './stores.ts';

const many = 450;

onBoth('a rotation brings every row under the new key, while others go on', async (t, place) => {
  const next = new MasterKey(randomBytes(32));
  const store = await openAt(t, place, { masterKeys: [place.masterKey, next] });
  await store.transaction(async (tx) => {
    for (let n = 0; n < many; n++) {
      await tx.addMachine(newMachine(`m${n}`));
      await tx.addKey(newKey(`id-of-m${n}`, `k${n}`), secretOf(`private ${n}`));
    }
  });
  let done = false;
  const meanwhile = (async () => {
    let n = 0;
    for (; !done; n++) {
      await countUp(store, `m${n % many}`, `${n}`);
      await store.transaction(async (tx) => {
        await tx.addMachine(newMachine(`late${n}`));
        await tx.addKey(newKey(`id-of-late${n}`, `late${n}`), secretOf('late'));
      });
    }
    return n;
  })();
  t.equal(await rotateMaster(store, next), 2);
  done = true;
  const late = await meanwhile;
  await countUp(store, 'm7', 'after');
  await store.close();

  const again = await openAt(t, place, { masterKeys: [next] });
  await again.transaction(async (tx) => {
    for (let n = 0; n < many; n++) {
      t.equal((await machineNamed(tx, `m${n}`)).version, 2);
      using secret = await (await tx.key(`k${n}`))?.open();
      t.same(secret?.reveal().toString(), `private ${n}`);
    }
    for (let n = 0; n < late; n++) t.equal((await machineNamed(tx, `late${n}`)).version, 2);
  });
  await again.close();
  await t.rejects(
    openAt(t, place),
    { code: 'bad-config', message: /version 2/ },
    'the old key opens nothing now',
  );
});

onBoth('a rotation that was cut off is taken up again', async (t, place) => {
  const next = new MasterKey(randomBytes(32));
  const store = await openAt(t, place);
  await store.transaction(async (tx) => {
    for (const name of ['a', 'b']) await tx.addMachine(newMachine(name));
  });
  await store.close();
  const other = new MasterKey(randomBytes(32));
  // The first page stops at a row that nobody can read.
  await place.tamper("UPDATE machines SET state = '{}' WHERE name = 'b'");
  const cut = await openAt(t, place);
  await t.rejects(rotateMaster(cut, next), { code: 'damaged', message: /machine b/ });
  await cut.close();
  await place.tamper(`UPDATE machines SET state = '{"is":"armed","n":0}' WHERE name = 'b'`);
  await t.rejects(openAt(t, place), { code: 'bad-config' }, 'new rows are under the new key already');
  const again = await openAt(t, place, { masterKeys: [next, place.masterKey] });
  await t.rejects(rotateMaster(again, place.masterKey), { code: 'bad-config' }, 'never back to an older key');
  t.equal(await rotateMaster(again, next), 2);
  t.equal(await rotateMaster(again, other), 3);
  t.same(await stateOf(again, 'a'), { is: 'armed', n: 0 });
  t.same(await stateOf(again, 'b'), { is: 'armed', n: 0 });
});

onBoth('a row that was changed in the database is refused, whatever was changed', async (t, place) => {
  const store = await openAt(t, place);
  await store.transaction(async (tx) => {
    await tx.addMachine(newMachine('ada', { state: stateFor({ is: 'locked' }) }));
    await tx.addMachine(newMachine('bob'));
    await tx.addKey(newKey('id-of-ada', 'k1'), secretOf('ada'));
    await tx.addKey(newKey('id-of-bob', 'k2'), secretOf('bob'));
  });
  await store.close();
  const refused = { code: 'damaged', message: /^machine ada: its row/, hint: /restore/ };
  const before = ['UPDATE machines SET state = \'{"is":"armed"}\'', "UPDATE machines SET tang = 'there'"];
  const after = ['UPDATE machines SET state = \'{"is":"locked"}\'', 'UPDATE machines SET tang = NULL'];
  for (const [index, change] of before.entries()) {
    await place.tamper(`${change} WHERE name = 'ada'`);
    const tampered = await openAt(t, place);
    await t.rejects(stateOf(tampered, 'ada'), refused, change);
    t.ok(await stateOf(tampered, 'bob'), 'the others are served');
    await tampered.close();
    await place.tamper(`${after[index]} WHERE name = 'ada'`);
  }
  // A key of one machine, handed to another.
  await place.tamper("UPDATE exchange_keys SET machine = 'id-of-bob' WHERE kid = 'k1'");
  const moved = await openAt(t, place);
  await t.rejects(
    moved.transaction(async (tx) => (await tx.key('k1'))?.open()),
    { code: 'damaged' },
  );
});

t.test('another master key', async (t) => {
  const { sqlitePlace } = await import('./backends.ts');
  const place = sqlitePlace(t);
  await (await openAt(t, place)).close();
  const wrong = { masterKeys: [new MasterKey(randomBytes(32))] };
  await t.rejects(openAt(t, place, wrong), { code: 'bad-config', message: /master key: version 1/ });
  await t.rejects(openAt(t, place, { masterKeys: [] }), { code: 'bad-config', message: /none given/ });
});
