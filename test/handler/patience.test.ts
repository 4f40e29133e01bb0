import t from 'tap';
import { AppError, type ErrorCode } from '../../src/base/errors.ts';
import { keepTrying as keepTryingWith, type Patience, tryOnce } from '../../src/handler/patience.ts';

type Ports = Parameters<typeof keepTryingWith>;

const leftovers: Promise<unknown>[] = [];
const keepTrying = (clock: Ports[0], random: Ports[1], patience: Patience) =>
  keepTryingWith(clock, random, patience, (leftover) => void leftovers.push(leftover));

const never = new AbortController().signal;

/** Time that passes only when somebody sleeps. */
function fakeTime() {
  const pauses: number[] = [];
  let nowMs = 0;
  const clock = {
    nowMs: () => nowMs,
    async sleep(ms: number, signal: AbortSignal) {
      if (signal.aborted) throw new AppError('stopped', 'stopped');
      pauses.push(ms);
      nowMs += ms;
    },
  };
  return { clock, pauses };
}

const random = (fraction: number) => ({ bytes: () => Buffer.alloc(0), fraction: () => fraction });

const forMs = (giveUpAfterMs: number, waitForAllowMs = 0) => ({ giveUpAfterMs, waitForAllowMs });

/** Fails as told, then answers. */
function failing(...codes: ErrorCode[]) {
  let tries = 0;
  return {
    tries: () => tries,
    once: async () => {
      const code = codes[tries++];
      if (code !== undefined) throw new AppError(code, `${code} ${tries}`, { hint: 'a hint' });
      return 'key';
    },
  };
}

t.test('unavailable is tried again, with pauses that double up to five seconds', async (t) => {
  const { clock, pauses } = fakeTime();
  const pin = failing(...Array.from({ length: 7 }, () => 'unavailable' as const));
  t.equal(await keepTrying(clock, random(0), forMs(90_000))('tang', never, pin.once), 'key');
  t.same(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000]);
});

t.test('who starts now has all of the time, whatever has passed since the request', async (t) => {
  const { clock } = fakeTime();
  const attempt = keepTrying(clock, random(0), forMs(10_000));
  await clock.sleep(60_000, never);
  const pin = failing('unavailable', 'unavailable');
  t.equal(await attempt('tpm2', never, pin.once, true), 'key');
  await t.rejects(attempt('tpm2', never, failing('unavailable').once), { message: /gave up after 1 try/ });
});

t.test('pauses are shortened at random by up to half', async (t) => {
  const { clock, pauses } = fakeTime();
  await keepTrying(clock, random(0.999999), forMs(90_000))(
    'tang',
    never,
    failing('unavailable', 'unavailable').once,
  );
  t.ok((pauses[0] ?? 0) < 126 && (pauses[1] ?? 0) < 251, String(pauses));
});

t.test('what is final is not tried again', async (t) => {
  for (const code of [
    'refused',
    'pcr-mismatch',
    'damaged',
    'foreign-tpm',
    'tool-missing',
    'not-allowed',
  ] as const) {
    const { clock } = fakeTime();
    const pin = failing(code);
    await t.rejects(keepTrying(clock, random(0), forMs(90_000))('tpm2', never, pin.once), {
      code,
      message: `tpm2: ${code} 1`,
      hint: 'a hint',
    });
    t.equal(pin.tries(), 1, code);
  }
});

t.test(
  'what an operator has to allow is waited for longer, and not by those who never heard of it',
  async (t) => {
    const { clock } = fakeTime();
    const waiting = (count: number) => Array.from({ length: count }, () => 'waiting' as const);
    const patience = forMs(10_000, 60_000);
    // A server that restarts meanwhile is still waited for.
    const pin = failing(...waiting(8), 'unavailable', ...waiting(3));
    t.equal(await keepTrying(clock, random(0), patience)('remote', never, pin.once), 'key');
    t.ok(clock.nowMs() > 40_000);
    await t.rejects(keepTrying(clock, random(0), patience)('remote', never, failing(...waiting(50)).once), {
      code: 'waiting',
      message: /^remote: waiting \d+ \(gave up after \d+ tries in 5[5-9]\.\d s\)$/,
    });
    const away = failing(...Array.from({ length: 50 }, () => 'unavailable' as const));
    await t.rejects(keepTrying(clock, random(0), patience)('tang', never, away.once), {
      message: /in 7\.8 s\)$/,
    });
    const short = failing(...waiting(3));
    t.equal(
      await keepTrying(clock, random(0), forMs(10_000, 1))('remote', never, short.once),
      'key',
      'never less',
    );
  },
);

t.test('patience ends, and says after how many tries and why', async (t) => {
  const { clock, pauses } = fakeTime();
  const pin = failing(...Array.from({ length: 50 }, () => 'unavailable' as const));
  await t.rejects(keepTrying(clock, random(0), forMs(10_000))('tang', never, pin.once), {
    code: 'unavailable',
    message: /^tang: unavailable 6 \(gave up after 6 tries in 7\.8 s\)$/,
  });
  t.ok(pauses.reduce((sum, ms) => sum + ms) < 10_000);
});

t.test('0 is for ever', async (t) => {
  const { clock } = fakeTime();
  const pin = failing(...Array.from({ length: 1000 }, () => 'unavailable' as const));
  t.equal(await keepTrying(clock, random(0), forMs(0))('tang', never, pin.once), 'key');
});

t.test('a try that hangs is cut off at the deadline', async (t) => {
  const realTime = { nowMs: () => performance.now(), sleep: async () => {} };
  const hangs = (signal: AbortSignal) =>
    new Promise<string>((_, reject) => {
      const alive = setInterval(() => {}, 1000);
      signal.addEventListener('abort', () => {
        clearInterval(alive);
        reject(new AppError('stopped', 'stopped'));
      });
    });
  await t.rejects(keepTrying(realTime, random(0), forMs(50))('tang', never, hangs), {
    code: 'unavailable',
    message: /^tang: no answer \(gave up after 1 try/,
  });
});

t.test('one that hangs in spite of it is left behind, and waited for afterwards', async (t) => {
  const realTime = { nowMs: () => performance.now(), sleep: async () => {} };
  const { promise, resolve } = Promise.withResolvers<string>();
  const alive = setInterval(() => {}, 1000);
  leftovers.length = 0;
  await t.rejects(
    keepTrying(realTime, random(0), forMs(50))('tpm2', never, () => promise),
    { code: 'unavailable', message: /^tpm2: no answer \(gave up after 1 try/ },
  );
  clearInterval(alive);
  t.equal(leftovers.length, 1);
  resolve('late');
  t.equal(await leftovers[0], 'late');
});

t.test('a caller that stops is not answered with unavailable', async (t) => {
  const { clock } = fakeTime();
  const stop = new AbortController();
  const once = async () => {
    stop.abort();
    throw new AppError('unavailable', 'no network');
  };
  await t.rejects(keepTrying(clock, random(0), forMs(90_000))('tang', stop.signal, once), {
    code: 'stopped',
    message: 'tang: no network (stopped after 1 try in 0.0 s)',
  });
});

t.test('a defect passes through as it is', async (t) => {
  const { clock } = fakeTime();
  const defect = new TypeError('x is not a function');
  const once = async () => {
    throw defect;
  };
  await t.rejects(keepTrying(clock, random(0), forMs(90_000))('tang', never, once), defect);
});

t.test('tryOnce tries once and names the pin', async (t) => {
  const pin = failing('unavailable');
  await t.rejects(tryOnce('tang', never, pin.once), { code: 'unavailable', message: 'tang: unavailable 1' });
  t.equal(pin.tries(), 1);
});
