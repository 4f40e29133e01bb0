import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Secret } from '../base/secret.ts';
import { type Advertisement, readAdvertisement } from '../exchange/advertisement.ts';
import { hasThumbprint, isThumbprint, type Malformed, thumbprint, toJwk } from '../exchange/jwk.ts';
import { isObject, shown } from '../jwe/compact.ts';
import { sealTo } from './exchange.ts';
import type { SealContext } from './pin.ts';
import { askTang, tangUnavailable, tangUrl } from './tang-server.ts';

/** clevis-encrypt-tang(1)'s configuration. */
interface TangConfig {
  /** As it was written, for the header; and in its one spelling, for going there. */
  readonly urlText: string;
  readonly url: string;
  readonly thp: string | undefined;
  /** A file's name, or the JWS itself. */
  readonly adv: string | Record<string, unknown> | undefined;
}

/**
 * Seals to the first exchange key that the server advertises. Whom to trust is told by `thp` or `adv`, or asked.
 * @throws AppError `bad-config`, `unavailable`, `refused` (not trusted)
 */
export async function sealTang(config: unknown, secret: Secret, context: SealContext): Promise<string> {
  const settings = parseConfig(config);
  const advertisement = await advertisementOf(settings, context);
  await checkTrust(settings, advertisement, context);
  const [serverKey] = advertisement.exchangeKeys;
  if (serverKey === undefined) throw new Error('an advertisement was read that has no exchange key');
  const clevis = { pin: 'tang', tang: { adv: advertisement.jwks, url: settings.urlText } };
  return sealTo(serverKey, clevis, secret, context.random);
}

function parseConfig(config: unknown): TangConfig {
  const wrong = (what: string): AppError => new AppError('bad-config', `pin tang: ${what}`);
  if (!isObject(config)) throw wrong(`expected an object, got ${shown(config)}`);
  const { url: urlText, thp, adv, ...others } = config;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw wrong(`expected url, thp or adv, got ${shown(unknown)}`);
  const url = tangUrl(urlText);
  if (url === null || typeof urlText !== 'string') {
    throw wrong(`url: expected an http or https URL without credentials and query, got ${shown(urlText)}`);
  }
  if (thp !== undefined && !isThumbprint(thp)) {
    throw wrong(`thp: expected a thumbprint (SHA-256 or SHA-1, base64url), got ${shown(thp)}`);
  }
  if (adv !== undefined && typeof adv !== 'string' && !isObject(adv)) {
    throw wrong(`adv: expected a file's name or a JWS as JSON object, got ${shown(adv)}`);
  }
  return { urlText, url, thp, adv };
}

async function advertisementOf({ url, thp, adv }: TangConfig, context: SealContext): Promise<Advertisement> {
  if (isObject(adv)) return readAdvertisement(adv, wrongConfig('pin tang: adv'));
  if (adv !== undefined) {
    const text = await context.files.read(adv, limits.tangBodyBytes);
    const malformed = wrongConfig(`tang advertisement ${adv}`);
    if (text === null) throw malformed('no such file');
    return readAdvertisement(parseJson(text, malformed), malformed);
  }
  const place = `${url}/adv/${thp ?? ''}`;
  return readAdvertisement(await askTang(context.http, place, null, context.signal), (reason) =>
    tangUnavailable(place, `advertisement: ${reason}`),
  );
}

const UNASKED =
  'compare with tang-show-keys on the server and give "thp" or "adv", or trust whatever is there with -y';

/** @throws AppError `refused` */
async function checkTrust({ url, thp, adv }: TangConfig, advertisement: Advertisement, context: SealContext) {
  const keys = advertisement.signingKeys.map(toJwk);
  if (thp !== undefined) {
    if (!keys.some((key) => hasThumbprint(key, thp))) throw untrusted(url, thp);
  } else if (adv === undefined) {
    const thumbprints = keys.map((key) => thumbprint(key, 'S256'));
    const lines = [`tang ${url} signs with these keys:`, ...thumbprints];
    await context.confirm(lines, 'Trust them?', UNASKED);
  }
}

function untrusted(place: string, thp: string): AppError {
  return new AppError('refused', `tang ${place}: expected to be signed by key ${thp}, got other keys`, {
    hint: 'the server has rotated its keys, or it is another server: compare with tang-show-keys there',
  });
}

function wrongConfig(where: string): Malformed {
  return (reason) => new AppError('bad-config', `${where}: ${reason}`);
}

function parseJson(text: Buffer, malformed: Malformed): unknown {
  try {
    return JSON.parse(text.toString());
  } catch {
    throw malformed('expected JSON');
  }
}
