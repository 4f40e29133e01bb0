import { AppError, asAppError, type ErrorCode } from './errors.ts';

/** Something that gives a `T` or fails; it is told to stop through `signal`. */
export type Contender<T> = (signal: AbortSignal) => Promise<T>;

/**
 * Runs all contenders in parallel until `threshold` of them have answered, then aborts the rest; likewise as soon
 * as too many have failed for the rest to suffice. Answers that come too late are disposed of.
 * @param afterwards is given the promises of those that were aborted, which may still be cleaning up
 * @throws AppError with the most telling code of those that failed, and each one's message
 */
export async function firstAnswers<T extends Disposable>(
  threshold: number,
  contenders: readonly Contender<T>[],
  signal: AbortSignal,
  afterwards: (leftover: Promise<unknown>) => void,
): Promise<T[]> {
  const stop = new AbortController();
  const joined = AbortSignal.any([signal, stop.signal]);
  const answers: T[] = [];
  const failures: AppError[] = [];
  const { promise: decided, resolve, reject } = Promise.withResolvers<void>();
  const running = contenders.map((contender) =>
    contender(joined).then(
      (answer) => {
        answers.push(answer);
        if (answers.length === threshold) resolve();
      },
      (thrown) => {
        failures.push(asAppError(thrown));
        if (failures.length === contenders.length - threshold + 1)
          reject(combined(threshold, contenders.length, failures));
      },
    ),
  );
  let kept = 0;
  try {
    await decided;
    kept = threshold;
    return answers.slice(0, threshold);
  } finally {
    stop.abort();
    afterwards(
      Promise.all(running).then(() => {
        for (const late of answers.slice(kept)) late[Symbol.dispose]();
      }),
    );
  }
}

/** Of several failures the one to name: a refusal tells more than a damaged share, that more than a silent server. */
const telling: readonly ErrorCode[] = [
  'bug',
  'pcr-mismatch',
  'refused',
  'waiting',
  'not-allowed',
  'foreign-tpm',
  'damaged',
  'tool-missing',
  'bad-config',
  'unavailable',
];

function combined(threshold: number, total: number, failures: readonly AppError[]): AppError {
  const [only] = failures;
  if (only !== undefined && total === 1) return only;
  const first = telling
    .map((code) => failures.find((failure) => failure.code === code))
    .find((f) => f !== undefined);
  const chosen = first ?? only;
  const reasons = failures.map((failure) => failure.message).join('; ');
  return new AppError(chosen?.code ?? 'bug', `${threshold} of ${total} needed: ${reasons}`, {
    hint: chosen?.hint,
    cause: failures,
  });
}
