import { inspect } from 'node:util';
import t from 'tap';
import { Secret } from '../../src/base/secret.ts';

t.test('a secret does not print itself', async (t) => {
  const secret = new Secret(Buffer.from('hunter2'));
  const shown = [
    `${secret}`,
    JSON.stringify({ secret }),
    inspect(secret),
    inspect({ deep: { secret } }, { showHidden: true }),
  ];
  for (const text of shown) {
    t.match(text, '[secret]');
    t.notMatch(text, /hunter2|68 75 6e|aHVudGVy/);
  }
});

t.test('it is wiped at the end of its block, and what it was taken from at once', async (t) => {
  const source = Buffer.from('hunter2');
  let bytes: Buffer;
  {
    using secret = Secret.takeFrom(source);
    bytes = secret.reveal();
    t.equal(bytes.toString(), 'hunter2');
    t.ok(source.equals(Buffer.alloc(7)));
  }
  t.ok(bytes.equals(Buffer.alloc(7)));
});
