import fc from 'fast-check';
import t from 'tap';
import { RateLimit } from '../../../src/server/front/rate-limit.ts';
import { ratesOf } from '../../../src/server/front/rates.ts';

t.test('a burst, then a steady rate', async (t) => {
  const limit = new RateLimit({ perSecond: 2, burst: 3 }, 10);
  const take = (nowMs: number) => limit.take('a', nowMs);
  t.same([take(0), take(0), take(0)], ['taken', 'taken', 'taken']);
  t.same([take(0), take(499)], ['just-over', 'over']);
  t.same([take(500), take(500)], ['taken', 'over']);
  t.same([take(1_000), take(1_000)], ['taken', 'over']);
  t.same([take(60_000), take(60_000), take(60_000)], ['taken', 'taken', 'taken'], 'never more than a burst');
  t.equal(take(60_000), 'just-over', 'news again');
});

t.test('each key has its own', async (t) => {
  const limit = new RateLimit({ perSecond: 1, burst: 1 }, 10);
  t.same([limit.take('a', 0), limit.take('b', 0), limit.take('a', 0)], ['taken', 'taken', 'just-over']);
});

t.test('no more keys than it may remember, the longest unseen forgotten', async (t) => {
  const limit = new RateLimit({ perSecond: 0.001, burst: 1 }, 3);
  for (const key of ['a', 'b', 'c', 'a']) limit.take(key, 0);
  limit.take('d', 0);
  t.equal(limit.size, 3);
  t.equal(limit.take('a', 0), 'over', 'seen lately');
  t.equal(limit.take('b', 0), 'taken', 'forgotten');
});

t.test('in any span of time no key gets more than its burst and the rate', async () => {
  const steps = fc.array(fc.tuple(fc.constantFrom('a', 'b'), fc.nat(2_000)), { maxLength: 200 });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 20 }),
      steps,
      (perSecond, burst, asked) => {
        const limit = new RateLimit({ perSecond, burst }, 10);
        let nowMs = 0;
        let got = 0;
        for (const [key, afterMs] of asked) {
          nowMs += afterMs;
          if (limit.take(key, nowMs) === 'taken' && key === 'a') got++;
        }
        return got <= burst + (nowMs / 1000) * perSecond + 1e-6;
      },
    ),
  );
});

t.test('a machine has one rate wherever it comes from, an address one for all of its machines', async (t) => {
  const rates = ratesOf({
    handshakes: { perSecond: 1, burst: 2 },
    fromAddress: { perSecond: 1, burst: 3 },
    ofMachine: { perSecond: 1, burst: 2 },
  });
  const [one, other] = ['sha256/AQEB', 'sha256/AgIC'];
  t.equal(rates.excess('192.0.2.1', one, 0), null);
  t.equal(rates.excess('192.0.2.2', one, 0), null);
  t.match(rates.excess('192.0.2.3', one, 0), { reason: /^too many requests of sha256\/AQEB/, isNews: true });
  t.match(rates.excess('192.0.2.3', one, 0), { isNews: false });
  t.equal(rates.excess('::ffff:192.0.2.3', other, 0), null);
  t.match(rates.excess('192.0.2.3', other, 0), { reason: 'too many requests from 192.0.2.3', isNews: true });
  const told: string[] = [];
  const admits = () => rates.admits('2001:db8::1', 0, (line) => told.push(line));
  t.same([admits(), admits(), admits(), admits()], [true, true, false, false]);
  t.same(told, ['2001:db8:0:0::/64: too many connections, those beyond are closed']);
});
