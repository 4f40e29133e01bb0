import { randomBytes } from 'node:crypto';
import t from 'tap';
import { fields } from '../../../src/server/master/fields.ts';
import { MasterKey } from '../../../src/server/master/master-key.ts';

const plain = () => Buffer.from('an exchange key');
const context = fields('machine', 'kid', 'P-256', 'store', 1);

t.test('what is sealed opens in its context under its key, and nowhere else', async (t) => {
  const bytes = randomBytes(32);
  const key = new MasterKey(bytes);
  const sealed = key.seal(plain(), context);
  t.notOk(sealed.includes(plain()));
  t.same(new MasterKey(bytes).open(sealed, context).reveal(), plain());
  t.notSame(key.seal(plain(), context), sealed, 'a nonce of its own each time');
  t.throws(() => key.open(sealed, fields('machine', 'kid', 'P-256', 'store', 2)), { code: 'damaged' });
  t.throws(() => new MasterKey(randomBytes(32)).open(sealed, context), { code: 'damaged' });
  for (let at = 0; at < sealed.length; at++) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] ?? 0) ^ 1;
    t.throws(() => key.open(changed, context), { code: 'damaged' }, `byte ${at} changed`);
    t.throws(() => key.open(sealed.subarray(0, at), context), { code: 'damaged' }, `cut to ${at} bytes`);
  }
});

t.test('a mark is the key’s and the context’s own', async (t) => {
  const bytes = randomBytes(32);
  const key = new MasterKey(bytes);
  const mark = key.mark(context);
  t.ok(new MasterKey(bytes).isMark(mark, context));
  t.notOk(new MasterKey(randomBytes(32)).isMark(mark, context));
  t.notOk(key.isMark(mark, fields('machine')));
  t.notOk(key.isMark(mark.subarray(1), context));
  t.notOk(key.isMark(Buffer.alloc(0), context));
});

t.test('the proof tells keys apart', async (t) => {
  const bytes = randomBytes(32);
  t.same(new MasterKey(bytes).proof, new MasterKey(bytes).proof);
  t.notSame(new MasterKey(bytes).proof, new MasterKey(randomBytes(32)).proof);
});

t.test('a master key has 32 bytes', async (t) => {
  for (const length of [0, 16, 31, 33]) {
    t.throws(() => new MasterKey(randomBytes(length)), { code: 'bad-config' }, `${length}`);
  }
});

t.test('fields have one reading', async (t) => {
  t.notSame(fields('a', 'bc'), fields('ab', 'c'));
  t.notSame(fields('a'), fields('a', ''));
  t.same(fields('a', Buffer.from('b')), fields('a', 'b'));
});
