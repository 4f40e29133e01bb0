import { fromBase64url, toBase64url } from '../base/bytes.ts';
import { AppError } from '../base/errors.ts';
import { firstAnswers } from '../base/race.ts';
import { damaged, isObject, type Jwe, shown } from '../jwe/compact.ts';
import { decryptContent, encryptCompact } from '../jwe/content.ts';
import { pinHeader } from './header.ts';
import type { Pin, SealedKey } from './pin.ts';
import { combine, newSharing, parsePrime, pointOf } from './shamir.ts';

/**
 * Clevis' pin `sss`: the content key is shared among nested sealed keys, `t` of which give it back.
 * Header `clevis.sss`: `t` a number, `p` base64url of a 32-byte prime, `jwe` the nested sealed keys.
 */
export const sss: Pin = {
  name: 'sss',

  parse(jwe, nested) {
    const header = pinHeader(jwe, 'sss', 'dir');
    if (header === null) return null;
    const { t, p, jwe: shares } = header;
    if (!Array.isArray(shares) || !shares.every((share) => typeof share === 'string')) {
      throw damaged('header field clevis.sss.jwe: expected a list of sealed keys');
    }
    if (!isThreshold(t, shares.length)) {
      throw damaged(`header field clevis.sss.t: expected 1 to ${shares.length}, got ${shown(t)}`);
    }
    const primeBytes = typeof p === 'string' ? fromBase64url(p) : null;
    const prime = primeBytes === null ? null : parsePrime(primeBytes);
    if (prime === null) throw damaged('header field clevis.sss.p: expected a prime of 256 bits');
    const parts = shares.map((share) => nested(share));
    const broken = parts.filter((part) => part instanceof AppError);
    const [first] = broken;
    if (first !== undefined && parts.length - broken.length < t) throw first;
    return sealedKey(jwe, t, prime, parts);
  },

  async seal(config, secret, context) {
    const { t, pins } = parseConfig(config);
    const sharing = newSharing(t, context.random);
    using contentKey = sharing.secret;
    const jwe: string[] = [];
    for (const { pin, config: own } of pins) {
      using share = sharing.share();
      jwe.push(await context.seal(pin, own, share));
    }
    const header = { alg: 'dir', clevis: { pin: 'sss', sss: { t, p: toBase64url(sharing.prime), jwe } } };
    return encryptCompact(header, contentKey, secret, context.random);
  },
};

function sealedKey(jwe: Jwe, t: number, prime: bigint, parts: readonly (SealedKey | AppError)[]): SealedKey {
  const usable = parts.filter((part): part is SealedKey => !(part instanceof AppError));
  return {
    pin: 'sss',
    title: `${t} of {${parts.map((part) => (part instanceof AppError ? 'a broken one' : part.title)).join(', ')}}`,
    uses: [{ pin: 'sss' }, ...usable.flatMap((part) => part.uses)],
    broken: parts.flatMap((part) => (part instanceof AppError ? part : (part.broken ?? []))),
    async open(context, signal) {
      const taken = new Set<bigint>();
      // A share that is none is not an answer: it leaves the place to the others.
      const contenders = parts.map((part) => async (stop: AbortSignal) => {
        if (part instanceof AppError) throw part;
        const share = await part.open(context, stop);
        try {
          pointOf(prime, share, taken);
          return share;
        } catch (thrown) {
          share.wipe();
          throw thrown instanceof AppError ? thrown.at(part.title) : thrown;
        }
      });
      const shares = await firstAnswers(t, contenders, signal, context.afterwards);
      try {
        using contentKey = combine(prime, shares);
        const secret = decryptContent(jwe, contentKey);
        if (secret === null)
          throw damaged(`${t} shares opened, but they or the ciphertext were changed since sealing`);
        return secret;
      } finally {
        for (const share of shares) share.wipe();
      }
    },
  };
}

function isThreshold(t: unknown, total: number): t is number {
  return typeof t === 'number' && Number.isInteger(t) && t >= 1 && t <= total;
}

/** Clevis' configuration: `{"t": 2, "pins": {"tpm2": {…}, "tang": [{…}, {…}]}}`; `t` is 1 when absent. */
function parseConfig(config: unknown): { t: number; pins: { pin: string; config: unknown }[] } {
  const bad = (field: string, expected: string, got: unknown) =>
    new AppError('bad-config', `pin sss: ${field}: expected ${expected}, got ${shown(got)}`, {
      hint: 'for example {"t":2,"pins":{"tpm2":{},"tang":{"url":"http://tang.example"}}}',
    });
  if (!isObject(config)) throw bad('configuration', 'an object', config);
  const { t = 1, pins, ...unknown } = config;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) throw bad('configuration', 'only t and pins', stranger);
  if (!isObject(pins)) throw bad('pins', 'an object from pin to configuration', pins);
  const list = Object.entries(pins).flatMap(([pin, own]) =>
    (Array.isArray(own) ? own : [own]).map((one: unknown) => ({ pin, config: one })),
  );
  if (!isThreshold(t, list.length)) throw bad('t', `1 to ${list.length}, the number of pins`, t);
  return { t, pins: list };
}
