import t from 'tap';
import { AppError, type ErrorCode } from '../../src/base/errors.ts';
import { type Contender, firstAnswers } from '../../src/base/race.ts';
import { Secret } from '../../src/base/secret.ts';

const never = new AbortController().signal;
const later = (ms: number) => new Promise((done) => setTimeout(done, ms));

const answers =
  (name: string, ms = 0): Contender<Secret> =>
  async () => {
    await later(ms);
    return new Secret(Buffer.from(name));
  };
const fails =
  (code: ErrorCode): Contender<Secret> =>
  async () => {
    throw new AppError(code, `because ${code}`, { hint: `hint ${code}` });
  };
/** Waits until told to stop, then cleans up for a moment. */
function waits() {
  const seen = { aborted: false, cleaned: false };
  const contender: Contender<Secret> = (signal) =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', async () => {
        seen.aborted = true;
        await later(20);
        seen.cleaned = true;
        reject(new AppError('stopped', 'stopped'));
      });
    });
  return { seen, contender };
}

t.test('the first t answers win, the rest are aborted and handed over while they clean up', async (t) => {
  const slow = waits();
  const leftovers: Promise<unknown>[] = [];
  const won = await firstAnswers(2, [slow.contender, answers('a', 5), answers('b')], never, (p) =>
    leftovers.push(p),
  );
  t.same(
    won.map((secret) => secret.reveal().toString()),
    ['b', 'a'],
  );
  t.same(slow.seen, { aborted: true, cleaned: false });
  await Promise.all(leftovers);
  t.ok(slow.seen.cleaned);
});

t.test('failures that leave enough contenders do not matter', async (t) => {
  const [won] = await firstAnswers(
    1,
    [fails('pcr-mismatch'), fails('damaged'), answers('a', 10)],
    never,
    () => {},
  );
  t.equal(won?.reveal().toString(), 'a');
});

t.test('as soon as too few are left the rest are aborted, and the most telling code is given', async (t) => {
  const slow = waits();
  await t.rejects(
    firstAnswers(2, [slow.contender, fails('unavailable'), fails('pcr-mismatch')], never, () => {}),
    {
      code: 'pcr-mismatch',
      message: '2 of 3 needed: because unavailable; because pcr-mismatch',
      hint: 'hint pcr-mismatch',
    },
  );
  t.ok(slow.seen.aborted);
});

t.test('a single contender fails with its own error', async (t) => {
  await t.rejects(
    firstAnswers(1, [fails('damaged')], never, () => {}),
    { code: 'damaged', message: 'because damaged' },
  );
});

t.test('answers that come too late are wiped', async (t) => {
  const late = new Secret(Buffer.from('late'));
  const leftovers: Promise<unknown>[] = [];
  const tardy = async () => {
    await later(10);
    return late;
  };
  await firstAnswers(1, [answers('a'), tardy], never, (p) => leftovers.push(p));
  await Promise.all(leftovers);
  t.ok(late.reveal().equals(Buffer.alloc(4)));
});

t.test('answers are wiped when the rest fail', async (t) => {
  const early = new Secret(Buffer.from('early'));
  const leftovers: Promise<unknown>[] = [];
  await t.rejects(
    firstAnswers(2, [async () => early, fails('refused')], never, (p) => leftovers.push(p)),
    {
      code: 'refused',
    },
  );
  await Promise.all(leftovers);
  t.ok(early.reveal().equals(Buffer.alloc(5)));
});

t.test('the caller’s abort reaches every contender', async (t) => {
  const stop = new AbortController();
  const slow = waits();
  const race = firstAnswers(1, [slow.contender], stop.signal, () => {});
  stop.abort();
  await t.rejects(race, { code: 'stopped' });
});
