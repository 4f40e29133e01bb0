import fc from 'fast-check';
import t from 'tap';
import { pauseMs, retryMs } from '../../src/keepalive/pace.ts';

const random = (fraction: number) => ({ bytes: () => Buffer.alloc(0), fraction: () => fraction });
const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

t.test('two keep-alives in a row may be lost, whatever the lease', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 3_000, max: 1e9 }), fraction, (leaseMs, by) => {
      if (3 * pauseMs(leaseMs, random(by)) > leaseMs) throw new Error('too late');
      if (pauseMs(leaseMs, random(by)) < 800) throw new Error('too often');
    }),
  );
  t.equal(pauseMs(null, random(0)), 300_000, 'without a lease every five minutes');
  t.equal(pauseMs(15 * 60_000, random(0)), 300_000);
  t.equal(pauseMs(0, random(0)), 1000, 'a lease that is over is no reason to flood the server');
  t.end();
});

t.test('pauses after failures double to a minute, and are jittered by up to half', (t) => {
  t.same(
    [1, 2, 3, 4, 5, 6, 7, 50].map((failures) => retryMs(failures, random(0))),
    [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000],
  );
  t.equal(retryMs(7, random(0.999)) < 31_000, true);
  t.end();
});
