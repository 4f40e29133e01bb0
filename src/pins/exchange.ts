import type { Random } from '../base/ports.ts';
import type { Secret } from '../base/secret.ts';
import { afterThisTurn } from '../base/turn.ts';
import { contentKeyFrom, generateEphemeral } from '../exchange/agreement.ts';
import type { EcPoint } from '../exchange/curve.ts';
import { parseEcKey, thumbprint, toJwk } from '../exchange/jwk.ts';
import { type Recovery, startRecovery } from '../exchange/recovery.ts';
import { damaged, type Jwe } from '../jwe/compact.ts';
import { decryptContent, encryptCompact } from '../jwe/content.ts';

/** What the pins that exchange with a server have in common: `alg: ECDH-ES`, the sealed key's own point in `epk`. */

/** @param clevis the header's `clevis` object */
export async function sealTo(
  serverKey: EcPoint,
  clevis: Readonly<Record<string, unknown>>,
  secret: Secret,
  random: Random,
): Promise<string> {
  const ephemeral = generateEphemeral(serverKey.curve);
  using shared = await ephemeral.agree(serverKey);
  using contentKey = contentKeyFrom(shared);
  const kid = thumbprint(toJwk(serverKey), 'S256');
  const header = { alg: 'ECDH-ES', clevis, epk: toJwk(ephemeral.point), kid };
  return encryptCompact(header, contentKey, secret, random);
}

/** The sealed key's own point, on the curve of the server's key. @throws AppError `damaged` */
export function ownPoint(jwe: Jwe, serverKey: EcPoint): EcPoint {
  const epk = parseEcKey(jwe.header['epk'], (reason) => damaged(`header field epk: ${reason}`));
  if (epk.curve === serverKey.curve) return epk;
  throw damaged(
    `header field epk: expected crv "${serverKey.curve.name}" as key ${jwe.header['kid']}, got "${epk.curve.name}"`,
  );
}

/**
 * Computing keeps this thread busy for longer than a TPM tool runs: a pin beside this one starts its tool first.
 * @param epk the sealed key's own point
 */
export async function beginRecovery(epk: EcPoint, serverKey: EcPoint): Promise<Recovery> {
  await afterThisTurn();
  return startRecovery(epk, serverKey);
}

/** @returns null when the server's answer does not open it */
export async function openWith(jwe: Jwe, recovery: Recovery, answer: EcPoint): Promise<Secret | null> {
  let plaintext: Secret | null = null;
  for (const candidate of await recovery.unblind(answer)) {
    using shared = candidate;
    using key = contentKeyFrom(shared);
    plaintext ??= decryptContent(jwe, key);
  }
  return plaintext;
}
