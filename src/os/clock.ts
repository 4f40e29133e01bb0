import { setTimeout as pause } from 'node:timers/promises';
import { AppError } from '../base/errors.ts';
import type { Clock } from '../base/ports.ts';

export const clock: Clock = {
  nowMs: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await pause(ms, undefined, { signal });
    } catch (cause) {
      throw new AppError('stopped', 'stopped while waiting', { cause });
    }
  },
};
