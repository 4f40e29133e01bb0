import type { Secret } from '../base/secret.ts';
import type { EcPoint } from '../exchange/curve.ts';
import { type EcJwk, hasThumbprint, isThumbprint, parseEcKey, toJwk } from '../exchange/jwk.ts';
import { damaged, isObject, type Jwe, shown } from '../jwe/compact.ts';
import { beginRecovery, openWith, ownPoint } from './exchange.ts';
import { pinHeader } from './header.ts';
import type { OpenContext, Pin } from './pin.ts';
import { sealTang } from './tang-seal.ts';
import { askTang, tangUnavailable, tangUrl } from './tang-server.ts';

/**
 * The content key comes back from an exchange with a Tang server, as clevis-decrypt-tang(1) does it. Over plain HTTP
 * anybody may have written the answer, so no answer says that the sealed key is broken: each is `unavailable`.
 */
export const tang: Pin = {
  name: 'tang',
  parse(jwe) {
    const own = pinHeader(jwe, 'tang', 'ECDH-ES');
    if (own === null) return null;
    const url = tangUrl(own.url);
    if (url === null) {
      throw damaged(`header field clevis.tang.url: expected an http or https URL, got ${shown(own.url)}`);
    }
    const sealed = { jwe, url, ...exchangeOf(jwe, own.adv) };
    const title = `tang ${url}`;
    return {
      pin: 'tang',
      title,
      uses: [{ pin: 'tang', url }],
      open: (context, signal) => context.attempt(title, signal, (once) => recover(sealed, context, once)),
    };
  },
  seal: sealTang,
};

interface Exchange {
  /** The thumbprint under which the server knows its key. */
  readonly kid: string;
  readonly epk: EcPoint;
  readonly serverKey: EcPoint;
}

interface SealedByTang extends Exchange {
  readonly jwe: Jwe;
  readonly url: string;
}

/** @throws AppError `damaged` */
function exchangeOf(jwe: Jwe, adv: unknown): Exchange {
  const { kid } = jwe.header;
  if (!isThumbprint(kid)) throw damaged(`header field kid: expected a key's thumbprint, got ${shown(kid)}`);
  const keys = isObject(adv) ? adv.keys : undefined;
  if (!Array.isArray(keys)) throw damaged('header field clevis.tang.adv: expected a JWK set');
  const named = keys.find((key) => isEcJwk(key) && hasThumbprint(key, kid));
  if (named === undefined) throw damaged(`header field clevis.tang.adv: expected key ${kid}, got none such`);
  const serverKey = parseEcKey(named, (reason) =>
    damaged(`header field clevis.tang.adv, key ${kid}: ${reason}`),
  );
  const epk = ownPoint(jwe, serverKey);
  return { kid, epk, serverKey };
}

function isEcJwk(key: unknown): key is EcJwk {
  return isObject(key) && ['crv', 'kty', 'x', 'y'].every((name) => typeof key[name] === 'string');
}

/** @throws AppError `unavailable`, `stopped` */
async function recover(sealed: SealedByTang, { http }: OpenContext, signal: AbortSignal): Promise<Secret> {
  const place = `${sealed.url}/rec/${sealed.kid}`;
  const recovery = await beginRecovery(sealed.epk, sealed.serverKey);
  const request = { alg: 'ECMR', ...toJwk(recovery.blinded) };
  const answer = parseEcKey(await askTang(http, place, request, signal), (reason) =>
    tangUnavailable(place, `answer: ${reason}`),
  );
  if (answer.curve !== sealed.epk.curve) {
    throw tangUnavailable(
      place,
      `answer: expected crv "${sealed.epk.curve.name}", got "${answer.curve.name}"`,
    );
  }
  const plaintext = await openWith(sealed.jwe, recovery, answer);
  if (plaintext === null) {
    throw tangUnavailable(place, 'the answer does not open the sealed key', {
      hint: 'either something on the way changed the answer, or the sealed key is damaged',
    });
  }
  return plaintext;
}
