import { type AppError, asAppError } from '../base/errors.ts';
import { firstAnswers } from '../base/race.ts';
import type { Secret } from '../base/secret.ts';
import type { OpenContext, PinUse } from '../pins/pin.ts';
import type { HandlerWorld } from './handle.ts';
import type { Located } from './locate.ts';
import { fetchUrlKey } from './url.ts';

export interface OpenedKey extends Disposable {
  readonly secret: Secret;
  /** The pins that answered, for the journal. */
  readonly openedBy: string;
  /** Why others of its pins will not, where that was known before the key was there. */
  readonly failures: readonly AppError[];
  /** The pins of all that was located. */
  readonly uses: readonly PinUse[];
}

/**
 * Opens what was located: the first of its sealed keys that opens, or its URL.
 * @param leftovers receives what is still cleaning up when the key is there
 * @throws AppError with the code of what decided
 */
export async function openKey(
  located: Located,
  attempt: OpenContext['attempt'],
  world: HandlerWorld & Pick<OpenContext, 'servers' | 'askPin'>,
  signal: AbortSignal,
  leftovers: Promise<unknown>[],
): Promise<OpenedKey> {
  const answered: string[] = [];
  const failures: AppError[] = [];
  const recorded: OpenContext['attempt'] = async (title, stop, once, startsNow) => {
    try {
      const result = await attempt(title, stop, once, startsNow);
      answered.push(title);
      return result;
    } catch (thrown) {
      if (!stop.aborted) failures.push(asAppError(thrown));
      throw thrown;
    }
  };
  const afterwards = (leftover: Promise<unknown>) => void leftovers.push(leftover);
  const secret = await open(located, { ...world, attempt: recorded, afterwards }, signal);
  const uses = located.sealedKeys.flatMap((key) => key.uses);
  const openedBy = [...new Set(answered)].join(', ');
  return { secret, openedBy, failures: [...failures], uses, [Symbol.dispose]: () => secret.wipe() };
}

async function open(
  located: Located,
  context: OpenContext & HandlerWorld,
  signal: AbortSignal,
): Promise<Secret> {
  const { url, sealedKeys, check } = located;
  const checked = (secret: Secret): Secret => {
    try {
      check(secret);
      return secret;
    } catch (thrown) {
      secret.wipe();
      throw thrown;
    }
  };
  if (url !== null) {
    // Without its query, which may hold a secret.
    const place = url.url.origin + url.url.pathname;
    return checked(await context.attempt(place, signal, (stop) => fetchUrlKey(url, context, stop)));
  }
  // One that is refused does not keep the others from opening.
  const contenders = sealedKeys.map(
    (key) => async (stop: AbortSignal) => checked(await key.open(context, stop)),
  );
  const [secret] = await firstAnswers(1, contenders, signal, context.afterwards);
  if (secret === undefined) throw new Error('a race for one answer was won without one');
  return secret;
}
