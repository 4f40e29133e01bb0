import { parseEcKey, thumbprint, toJwk } from '../exchange/jwk.ts';
import { damaged, isObject, parseCompact } from '../jwe/compact.ts';

/**
 * The Tang servers of a sealed key that was made here, nested ones included, by their URLs as they were given.
 * @returns S256 thumbprint of a signing key of each: what `thp` takes
 * @throws AppError `damaged`
 */
export function tangSigners(sealedKey: string): Map<string, string> {
  const { clevis } = parseCompact(sealedKey).header;
  const { tang, sss } = isObject(clevis) ? clevis : {};
  if (isObject(sss) && Array.isArray(sss['jwe'])) {
    return new Map(sss['jwe'].flatMap((nested) => [...tangSigners(String(nested))]));
  }
  if (!isObject(tang) || !isObject(tang['adv'])) return new Map();
  const keys: unknown[] = Array.isArray(tang['adv']['keys']) ? tang['adv']['keys'] : [];
  const signing = keys.find((key) => isObject(key) && String(key['key_ops']).includes('verify'));
  const point = parseEcKey(signing, (reason) => damaged(`header field clevis.tang.adv: ${reason}`));
  return new Map([[String(tang['url']), thumbprint(toJwk(point), 'S256')]]);
}
