import type { Socket } from 'node:net';
import { AppError } from '../base/errors.ts';

/**
 * Waits for `event`, `connect` or `secureConnect`; a fault that comes later is left to whoever uses the socket.
 * @throws what the socket throws; AppError `unavailable` when it closes without saying why
 */
export function established(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, resolve);
    // For the socket's whole life, since a fault that nobody listens for would end the process.
    socket.on('error', reject);
    socket.once('close', () => reject(closedEarly()));
  });
}

export function closedEarly(): AppError {
  return new AppError('unavailable', 'connection closed before the answer was complete');
}
