import { request } from 'node:http';
import { AppError } from '../base/errors.ts';
import { serverLimits } from '../base/server-limits.ts';

/**
 * Asks the server on its own socket.
 * @returns status and JSON of the answer
 * @throws AppError `unavailable` (it does not run), `refused` (not ours to open), `stopped`
 */
export async function askOperatorSocket(
  socketPath: string,
  body: unknown,
  signal: AbortSignal,
): Promise<{ status: number; json: unknown }> {
  try {
    return await exchange(socketPath, JSON.stringify(body), signal);
  } catch (cause) {
    if (signal.aborted) throw new AppError('stopped', 'stopped', { cause });
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    if (code === 'EACCES') {
      throw new AppError('refused', `${socketPath}: not permitted`, {
        cause,
        hint: 'it is for root and the server',
      });
    }
    throw new AppError('unavailable', `${socketPath}: ${code}`, {
      cause,
      hint: 'does the server run? systemctl status luks-key-server',
    });
  }
}

function exchange(
  socketPath: string,
  text: string,
  signal: AbortSignal,
): Promise<{ status: number; json: unknown }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    const outgoing = request({
      socketPath,
      method: 'POST',
      path: '/v1/operator',
      headers,
      signal,
      timeout: serverLimits.operatorMs,
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error('timed out')));
    outgoing.on('error', reject);
    outgoing.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve({ status: response.statusCode ?? 0, json: JSON.parse(Buffer.concat(chunks).toString()) });
        } catch (cause) {
          reject(cause);
        }
      });
    });
    outgoing.end(text);
  });
}
