import { unlessAborted } from '../base/abort.ts';
import { AppError, type ErrorCode } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Clock, Random } from '../base/ports.ts';
import type { OpenContext } from '../pins/pin.ts';

/** One try, no pause: for a person at a terminal, who can ask again. */
export const tryOnce: OpenContext['attempt'] = async (title, signal, once) => {
  try {
    return await once(signal);
  } catch (thrown) {
    throw named(title, thrown);
  }
};

/** Milliseconds since the request; 0 = for ever. */
export interface Patience {
  /** For what may come by itself: the network, a server, the TPM. */
  readonly giveUpAfterMs: number;
  /** For what an operator has to allow, once a server has said so. Never less than `giveUpAfterMs`. */
  readonly waitForAllowMs: number;
}

/**
 * Tries again after `unavailable` and `waiting` until the time for it has passed since this call, as
 * systemd-cryptsetup asks once and never again. Pauses double from 250 ms to 5 s, each shortened by up to half at
 * random, so that a fleet that lost power together does not ask its server in step.
 * @param afterwards is given what was cut off when the time was up, and may still be cleaning up
 */
export function keepTrying(
  clock: Clock,
  random: Random,
  patience: Patience,
  afterwards: OpenContext['afterwards'],
): OpenContext['attempt'] {
  const requestMs = clock.nowMs();
  return async (title, signal, once, startsNow = false) => {
    const startMs = clock.nowMs();
    const until = (ms: number) =>
      ms === 0 ? Number.POSITIVE_INFINITY : (startsNow ? startMs : requestMs) + ms;
    const giveUpAtMs = until(patience.giveUpAfterMs);
    const waitUntilMs = Math.max(giveUpAtMs, until(patience.waitForAllowMs));
    const deadlineAt = (atMs: number) => AbortSignal.any([signal, timeout(atMs - startMs)]);
    let [deadlineMs, deadline] = [giveUpAtMs, deadlineAt(giveUpAtMs)];
    let last: AppError | null = null;
    for (let tries = 1; ; tries++) {
      const trying = once(deadline);
      try {
        return await unlessAborted(trying, deadline);
      } catch (thrown) {
        const error = named(title, thrown);
        const cutOff = error.code === 'stopped' && deadline.aborted;
        if (error.code !== 'unavailable' && error.code !== 'waiting' && !cutOff) throw error;
        // What was cut off says less than the failure before it.
        if (!cutOff) last = error;
        else afterwards(trying.catch(() => {}));
        if (error.code === 'waiting' && deadlineMs < waitUntilMs) {
          [deadlineMs, deadline] = [waitUntilMs, deadlineAt(waitUntilMs)];
        }
      }
      const pauseMs = pauseAfter(tries, random);
      const goOn = !deadline.aborted && clock.nowMs() + pauseMs < deadlineMs;
      if (goOn) await clock.sleep(pauseMs, signal).catch(passOverStop);
      if (goOn && !signal.aborted) continue;
      last ??= new AppError('unavailable', `${title}: no answer`);
      throw ended(signal.aborted ? 'stopped' : last.code, last, tries, clock.nowMs() - startMs);
    }
  };
}

/** Aborts when the time is up; a time longer than Node's timers can hold (24 days) is left to the check after a try. */
function timeout(ms: number): AbortSignal {
  return ms > 2 ** 31 - 1 ? new AbortController().signal : AbortSignal.timeout(Math.max(0, Math.ceil(ms)));
}

function pauseAfter(tries: number, random: Random): number {
  const longest = Math.min(limits.retryFirstMs * 2 ** (tries - 1), limits.retryLongestMs);
  return longest * (1 - random.fraction() / 2);
}

function ended(code: ErrorCode, last: AppError, tries: number, elapsedMs: number): AppError {
  const how = code === 'stopped' ? 'stopped' : 'gave up';
  const times = tries === 1 ? '1 try' : `${tries} tries`;
  return new AppError(code, `${last.message} (${how} after ${times} in ${(elapsedMs / 1000).toFixed(1)} s)`, {
    hint: last.hint,
    cause: last,
  });
}

function passOverStop(thrown: unknown): void {
  if (!(thrown instanceof AppError) || thrown.code !== 'stopped') throw thrown;
}

function named(title: string, thrown: unknown): AppError {
  if (!(thrown instanceof AppError)) throw thrown;
  return thrown.at(title);
}
