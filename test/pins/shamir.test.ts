import { generatePrimeSync, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { bigIntToBytes } from '../../src/base/bytes.ts';
import { Secret } from '../../src/base/secret.ts';
import { combine, newSharing, parsePrime } from '../../src/pins/shamir.ts';

const random = { bytes: (count: number) => randomBytes(count), fraction: () => 0.5 };

function field() {
  const sharing = newSharing(3, random);
  const p = parsePrime(sharing.prime);
  if (p === null) throw new Error('a fresh prime was refused');
  return { sharing, p };
}

const share = (x: bigint, y: bigint) =>
  new Secret(Buffer.concat([bigIntToBytes(x, 32), bigIntToBytes(y, 32)]));

t.test('any t of n shares give the secret back, t − 1 do not', async (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 0, max: 4 }),
      fc.nat(),
      (threshold, spare, pick) => {
        const sharing = newSharing(threshold, random);
        const p = parsePrime(sharing.prime);
        const shares = Array.from({ length: threshold + spare }, () => sharing.share());
        const rotated = shares
          .map((_, i) => shares[(i + pick) % shares.length] as Secret)
          .slice(0, threshold);
        const secret = sharing.secret.reveal();
        const fewer = rotated.slice(1);
        return (
          p !== null &&
          combine(p, rotated).reveal().equals(secret) &&
          (fewer.length === 0 || !combine(p, fewer).reveal().equals(secret))
        );
      },
    ),
    { numRuns: 30 },
  );
  t.pass('held for every example');
});

t.test('shares that are none are refused', async (t) => {
  const { sharing, p } = field();
  const good = sharing.share();
  t.throws(() => combine(p, [good, share(0n, 5n)]), { code: 'damaged', message: /x is 0/ });
  t.throws(() => combine(p, [good, good]), { code: 'damaged', message: /same x/ });
  t.throws(() => combine(p, [good, share(p, 1n)]), { code: 'damaged', message: /outside the field/ });
  t.throws(() => combine(p, [good, share(1n, p)]), { code: 'damaged', message: /outside the field/ });
  t.throws(() => combine(p, [new Secret(Buffer.alloc(63))]), {
    code: 'damaged',
    message: /64 bytes, got 63/,
  });
});

t.test('only a prime of 256 bits makes a field', async (t) => {
  const { sharing } = field();
  t.not(parsePrime(sharing.prime), null);
  const even = Buffer.from(sharing.prime);
  even[31] = (even[31] ?? 0) & 0xfe;
  t.equal(parsePrime(even), null, 'not prime');
  t.equal(parsePrime(sharing.prime.subarray(1)), null, '31 bytes');
  t.equal(parsePrime(Buffer.concat([Buffer.alloc(1), sharing.prime])), null, '33 bytes');
  t.equal(
    parsePrime(bigIntToBytes(generatePrimeSync(128, { bigint: true }), 32)),
    null,
    'a prime of 128 bits',
  );
  t.equal(parsePrime(Buffer.alloc(0)), null, 'nothing');
});
