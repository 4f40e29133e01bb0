import t from 'tap';
import { Secret } from '../../src/base/secret.ts';
import { concatKdf, contentKeyFrom, generateEphemeral } from '../../src/exchange/agreement.ts';
import { curves } from '../../src/exchange/curve.ts';
import { toKeyObject } from '../../src/exchange/jwk.ts';

t.test('Concat KDF: the example of RFC 7518, Appendix C', (t) => {
  const shared = new Secret(
    Buffer.from([
      158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49, 110, 163, 218, 128,
      106, 72, 246, 218, 167, 121, 140, 254, 144, 196,
    ]),
  );
  const key = concatKdf(shared, 'A128GCM', Buffer.from('Alice'), Buffer.from('Bob'), 16);
  t.equal(key.reveal().toString('base64url'), 'VqqN6vgjbSBcIijNcacQGg');
  t.end();
});

t.test('the content key is 32 bytes and depends on the shared secret', (t) => {
  const keys = [1, 2].map((byte) => contentKeyFrom(new Secret(Buffer.alloc(66, byte))));
  t.same(
    keys.map((key) => key.length),
    [32, 32],
  );
  t.notOk(keys[0]?.reveal().equals(keys[1]?.reveal() ?? Buffer.alloc(0)));
  t.end();
});

for (const curve of Object.values(curves)) {
  t.test(`${curve.name}: both sides agree on x`, async (t) => {
    const [one, other] = [generateEphemeral(curve), generateEphemeral(curve)];
    const shared = await one.agree(other.point);
    t.equal(shared.length, curve.coordinateBytes);
    t.ok(shared.reveal().equals((await other.agree(one.point)).reveal()));
    t.notOk(toKeyObject(one.point).equals(toKeyObject(other.point)), 'never the same key twice');
  });
}
