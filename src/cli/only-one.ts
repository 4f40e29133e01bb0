import { AppError } from '../base/errors.ts';
import type { HeldLock } from '../base/ports.ts';
import { absolutePath } from './command.ts';
import type { World } from './world.ts';

/**
 * @param place path of what the command is going to change things of: a crypttab, a configuration's folder
 * @throws AppError `unavailable` when another command changes things there
 */
export async function onlyOne(command: string, place: string, { locks, signal }: World): Promise<HeldLock> {
  try {
    return await locks.acquire(`change${absolutePath(place).replaceAll('/', '-')}`, 0, signal);
  } catch (cause) {
    if (!(cause instanceof AppError) || cause.code !== 'unavailable') throw cause;
    throw new AppError('unavailable', `${command}: another command is changing things of ${place} now`, {
      hint: 'wait until it has ended',
      cause,
    });
  }
}
