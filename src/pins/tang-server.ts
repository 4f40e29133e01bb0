import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Http } from '../base/ports.ts';

/**
 * A Tang server's base URL in its one spelling: `http://host`, `https://host:port/path`, no slash at the end.
 * Without a scheme it is http, as curl, and so Clevis, reads it.
 * @returns null unless it is an http or https URL without credentials, query and fragment
 */
export function tangUrl(text: unknown): string | null {
  // Printable ASCII without backslash: the rest is what `new URL` would drop or mend in silence.
  if (typeof text !== 'string' || text.length > limits.urlBytes || !/^[!-[\]-~]+$/.test(text)) return null;
  if (/[?#@]/.test(text)) return null;
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) return null;
  return url.origin + url.pathname.replace(/\/+$/, '');
}

/** What went wrong at `place`: over plain HTTP anybody may have written the answer, so it is never more than this. */
export function tangUnavailable(
  place: string,
  reason: string,
  details: { hint?: string; cause?: unknown } = {},
) {
  return new AppError('unavailable', `tang ${place}: ${reason}`, details);
}

/**
 * Asks a Tang server: GET, or POST where there is a key to send.
 * @param place full URL
 * @returns the answer's JSON
 * @throws AppError `unavailable`, `stopped`, `bad-config` (the system's CA store)
 */
export async function askTang(
  http: Http,
  place: string,
  key: Readonly<Record<string, unknown>> | null,
  signal: AbortSignal,
): Promise<unknown> {
  const { status, body } = await http
    .request({
      ...(key === null ? { method: 'GET' } : post(key)),
      url: new URL(place),
      maxBodyBytes: limits.tangBodyBytes,
      timeoutMs: limits.httpTimeoutMs,
      signal,
    })
    .catch(nameTang);
  if (status === 404) {
    const hint = 'the server does not have this key: was it rotated away?';
    throw tangUnavailable(place, 'answered 404', { hint });
  }
  if (status >= 300 && status < 400) {
    throw tangUnavailable(place, `answered ${status}: redirects are not followed`);
  }
  if (status !== 200) throw tangUnavailable(place, `answered ${status}`);
  try {
    return JSON.parse(body.toString());
  } catch {
    throw tangUnavailable(place, 'answer: expected JSON');
  }
}

function post(key: Readonly<Record<string, unknown>>) {
  return {
    method: 'POST',
    headers: { 'content-type': 'application/jwk+json' },
    body: Buffer.from(JSON.stringify(key)),
  } as const;
}

/** The transport names the URL, but not what for. */
function nameTang(thrown: unknown): never {
  if (!(thrown instanceof AppError)) throw thrown;
  throw new AppError(thrown.code, `tang ${thrown.message}`, {
    ...(thrown.hint === undefined ? {} : { hint: thrown.hint }),
    cause: thrown,
  });
}
