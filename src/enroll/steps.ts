import { AppError, asAppError, failureLine } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Clock } from '../base/ports.ts';

/** One change, and how it is taken back. */
export interface Step<Doing, Undoing> {
  /** What happens, for people: `adding keyslot`. */
  readonly title: string;
  do(context: Doing, signal: AbortSignal): Promise<void>;
  /** Also of a change that was made half, not at all, or long ago by a process that was killed. */
  undo(context: Undoing, signal: AbortSignal): Promise<void>;
}

/** What outlives this process: from `begin` to one of the two others, whoever comes next has to undo. */
export interface Notebook {
  /** Before the first change; what is written is on the disk when it returns. */
  begin(): void;
  done(): Promise<void>;
  undone(): void;
}

export interface Narrator {
  readonly clock: Clock;
  say(line: string): void;
}

/**
 * All of the steps in their order, or none: the first that fails is undone, and those before it, last one first.
 * Killed at any moment it leaves the notebook, by which `undoSteps` takes everything back.
 * @param signal stops between two steps, or within one that obeys it; undoing is never stopped
 * @throws AppError what the step threw
 */
export async function runSteps<Doing extends Undoing, Undoing>(
  steps: readonly Step<Doing, Undoing>[],
  context: Doing,
  notebook: Notebook,
  narrator: Narrator,
  signal: AbortSignal,
): Promise<void> {
  notebook.begin();
  let done = 0;
  try {
    for (const step of steps) {
      if (signal.aborted) throw new AppError('stopped', `stopped before ${step.title}`);
      done++;
      await sayingIfSlow(step.title, narrator, () => step.do(context, signal));
    }
    await notebook.done();
  } catch (thrown) {
    const error = asAppError(thrown);
    const failures = await undoSteps(steps.slice(0, done), context, notebook, narrator);
    if (failures.length === 0) throw error;
    throw new AppError(error.code, `${error.message}; not all could be undone: ${failures.join('; ')}`, {
      cause: error,
      hint: 'the next command that changes its keys tries again',
    });
  }
}

/**
 * Undoes the steps, last one first; one that cannot be undone does not keep the others from it, but keeps the notebook.
 * @returns what failed, in words
 */
export async function undoSteps<Undoing>(
  steps: readonly Step<never, Undoing>[],
  context: Undoing,
  notebook: Pick<Notebook, 'undone'>,
  narrator: Narrator,
): Promise<string[]> {
  const failures: string[] = [];
  const { signal } = new AbortController();
  for (const step of steps.toReversed()) {
    try {
      await sayingIfSlow(`undoing: ${step.title}`, narrator, () => step.undo(context, signal));
    } catch (thrown) {
      failures.push(`${step.title}: ${failureLine(asAppError(thrown))}`);
    }
  }
  if (failures.length === 0) notebook.undone();
  return failures;
}

/** Whoever waits for more than a second is told for what. */
export async function sayingIfSlow<T>(
  title: string,
  { clock, say }: Narrator,
  work: () => Promise<T>,
): Promise<T> {
  const done = new AbortController();
  const told = clock.sleep(limits.progressAfterMs, done.signal).then(
    () => say(`${title} …`),
    () => {},
  );
  try {
    return await work();
  } finally {
    done.abort();
    await told;
  }
}
