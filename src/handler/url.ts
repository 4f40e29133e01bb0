import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files, Http, TlsSettings } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import type { UrlSettings } from '../config/config.ts';

/** Answers by which the server says no, for good as far as it knows (RFC 9110 §15.5). */
const refusals: Readonly<Record<number, string>> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not found',
  410: 'gone',
};

/**
 * The body of one HTTPS GET, byte for byte: a newline at its end is part of the key. Trying again is for the caller.
 *
 * Only 200 brings a key, and only a refusal is final. All else is `unavailable`, a redirect included: it is not
 * followed, as where the key comes from is for config.yaml to say, but it does not refuse either, since a captive
 * portal or a balancer with no server behind it redirects too, and goes away.
 * @throws AppError `refused`, `unavailable`, `stopped`; `bad-config` when `ca`, certificate or key cannot be used
 */
export async function fetchUrlKey(
  settings: UrlSettings,
  { http, files }: { readonly http: Http; readonly files: Files },
  signal: AbortSignal,
): Promise<Secret> {
  const { url, maxBodyBytes } = settings;
  const tls = await tlsSettings(settings, files);
  try {
    const { status, body } = await http.request({
      method: 'GET',
      url,
      // A compressed answer would be another key.
      headers: { 'accept-encoding': 'identity' },
      tls,
      maxBodyBytes,
      timeoutMs: limits.httpTimeoutMs,
      signal,
    });
    const key = new Secret(body);
    if (status === 200 && key.length > 0) return key;
    key.wipe();
    throw fault(url, status);
  } finally {
    tls.clientKey?.fill(0);
  }
}

async function tlsSettings(settings: UrlSettings, files: Files): Promise<TlsSettings> {
  const { ca, pinSha256, client } = settings;
  return {
    ...(ca === null ? {} : { ca: await read(files, ca) }),
    ...(pinSha256 === null ? {} : { pinsSha256: [pinSha256] }),
    ...(client === null
      ? {}
      : {
          clientCertificate: await read(files, client.certificate),
          clientKey: await read(files, client.key),
        }),
  };
}

async function read(files: Files, path: string): Promise<Buffer> {
  const bytes = await files.read(path, limits.configBytes);
  if (bytes === null) throw new AppError('bad-config', `${path}: no such file, and config.yaml names it`);
  return bytes;
}

/** The address is shown without its query, which may hold a secret. */
function fault(url: URL, status: number): AppError {
  const answered = `${url.origin}${url.pathname}: answered ${status}`;
  const refusal = refusals[status];
  if (refusal !== undefined) {
    return new AppError('refused', `${answered} (${refusal})`, {
      hint: 'the server decides who gets this key: see its log, and url and client-certificate in config.yaml',
    });
  }
  if (status === 200) return new AppError('refused', `${answered} with an empty body, expected a key`);
  if (status >= 300 && status < 400) {
    return new AppError('unavailable', `${answered}, a redirect, which is not followed`, {
      hint: 'put the address that it leads to into config.yaml, if that is where the key should come from',
    });
  }
  return new AppError('unavailable', `${answered}, expected 200`);
}
