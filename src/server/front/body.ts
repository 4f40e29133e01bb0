import { AppError } from '../../base/errors.ts';
import type { HttpCall } from '../../base/http-service.ts';
import { serverLimits } from '../../base/server-limits.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * A request's JSON; undefined where a method has none. How deep it is does not matter: V8 parses without recursion,
 * and every schema is strict.
 * @throws AppError `bad-request`: too long, of another type, not JSON in UTF-8; `stopped`
 */
export async function parsedBody({ method, contentType, body }: HttpCall): Promise<unknown> {
  if (method === 'GET' || method === 'DELETE') {
    await body(0);
    return undefined;
  }
  if (!/^application\/json *(; *charset="?utf-8"?)?$/i.test(contentType)) {
    throw new AppError('bad-request', `content-type: expected application/json, got ${contentType}`);
  }
  const bytes = await body(serverLimits.bodyBytes);
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch {
    // Not its message, which quotes what may be a secret.
    throw new AppError('bad-request', 'body: not JSON');
  }
}
