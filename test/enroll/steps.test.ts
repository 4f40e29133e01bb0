import t from 'tap';
import { AppError } from '../../src/base/errors.ts';
import { runSteps, type Step, undoSteps } from '../../src/enroll/steps.ts';
import { clock } from '../../src/os/clock.ts';

/** Steps that tell what they do; `fails` names those that cannot: `do b`. */
function stage(...fails: string[]) {
  const told: string[] = [];
  const tell = async (what: string) => {
    told.push(what);
    if (fails.includes(what)) throw new AppError('unavailable', `${what} failed`);
  };
  const steps = ['a', 'b', 'c'].map(
    (title): Step<null, null> => ({
      title,
      do: () => tell(`do ${title}`),
      undo: () => tell(`undo ${title}`),
    }),
  );
  const notebook = {
    begin: () => void told.push('begin'),
    done: () => tell('done'),
    undone: () => void told.push('undone'),
  };
  const narrator = { clock, say: (line: string) => void told.push(line) };
  const run = (signal = new AbortController().signal) => runSteps(steps, null, notebook, narrator, signal);
  return { told, steps, notebook, narrator, run };
}

t.test('all in their order', async (t) => {
  const { told, run } = stage();
  await run();
  t.strictSame(told, ['begin', 'do a', 'do b', 'do c', 'done']);
});

t.test('the one that fails is undone, then those before it', async (t) => {
  const { told, run } = stage('do b');
  await t.rejects(run(), { code: 'unavailable', message: 'do b failed' });
  t.strictSame(told, ['begin', 'do a', 'do b', 'undo b', 'undo a', 'undone']);
});

t.test('so are all when the notebook cannot be closed', async (t) => {
  const { told, run } = stage('done');
  await t.rejects(run(), { message: 'done failed' });
  t.strictSame(told.slice(-4), ['undo c', 'undo b', 'undo a', 'undone']);
});

t.test('what cannot be undone keeps nothing else from it, and keeps the notebook', async (t) => {
  const { told, run, steps, notebook, narrator } = stage('do c', 'undo b');
  await t.rejects(run(), {
    message: 'do c failed; not all could be undone: b: undo b failed',
    hint: /tries again/,
  });
  t.strictSame(told.slice(-3), ['undo c', 'undo b', 'undo a']);
  t.strictSame(await undoSteps(steps, null, notebook, narrator), ['b: undo b failed']);
});

t.test('told to stop it does no further step', async (t) => {
  const { told, run } = stage();
  await t.rejects(run(AbortSignal.abort()), { code: 'stopped', message: 'stopped before a' });
  t.strictSame(told, ['begin', 'undone']);
});

t.test('who waits for long is told for what', async (t) => {
  const { told, steps, notebook, narrator } = stage();
  const slow: Step<null, null> = {
    title: 'slow',
    do: () => clock.sleep(1200, new AbortController().signal),
    async undo() {},
  };
  await runSteps([...steps, slow], null, notebook, narrator, new AbortController().signal);
  t.ok(told.includes('slow …'));
});
