import { AppError } from './errors.ts';

/**
 * What `work` gives, unless `signal` aborts first: for work that cannot be stopped, and whose end nobody needs.
 * @throws AppError `stopped`
 */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const stop = () => reject(new AppError('stopped', 'stopped'));
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
