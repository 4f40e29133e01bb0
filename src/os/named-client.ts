import { Socket } from 'node:net';
import { AppError } from '../base/errors.ts';
import { connectFrom } from './libc.ts';

/**
 * Asks a socket as systemd does (src/basic/fileio.c `READ_FULL_FILE_CONNECT_SOCKET`): binds, connects, shuts the
 * writing side at once and reads to EOF.
 * @param address what to bind: an abstract name with its leading NUL
 * @throws AppError `unavailable` (nobody listens, longer than `maxBytes`), `refused`, `stopped`
 */
export async function askSocket(
  path: string,
  address: Buffer,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const socket = new Socket({
    fd: connectFrom(address, path),
    readable: true,
    writable: true,
    allowHalfOpen: true,
  });
  const onAbort = () =>
    socket.destroy(new AppError('stopped', `${path}: stopped while waiting for an answer`));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    socket.end();
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > maxBytes)
        throw new AppError('unavailable', `${path}: expected at most ${maxBytes} bytes, got more`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('unavailable', `${path}: the connection broke before the answer ended`, { cause });
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.destroy();
    for (const chunk of chunks) chunk.fill(0);
  }
}
