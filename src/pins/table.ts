import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Secret } from '../base/secret.ts';
import { damaged, isObject, parseCompact, shown } from '../jwe/compact.ts';
import { parsec } from './parsec.ts';
import { type Pin, pinNames, type SealContext, type SealedKey } from './pin.ts';
import { remote } from './remote.ts';
import { sss } from './sss.ts';
import { systemdCreds } from './systemd-creds.ts';
import { tang } from './tang.ts';
import { tpm2 } from './tpm2.ts';

const pins: readonly Pin[] = [tpm2, tang, remote, systemdCreds, parsec, sss];

/**
 * Reads a sealed key with all that is nested in it.
 * @param text JWE in compact serialization
 * @throws AppError `damaged`
 */
export function parseSealedKey(text: string): SealedKey {
  let count = 0;
  let beyond: AppError | null = null;
  const parseNested = (inner: string, depth: number): SealedKey | AppError => {
    try {
      return parseAt(inner, depth);
    } catch (thrown) {
      if (!(thrown instanceof AppError) || thrown === beyond) throw thrown;
      return thrown;
    }
  };
  const parseAt = (nestedText: string, depth: number): SealedKey => {
    if (depth > limits.pinDepth)
      beyond = damaged(`expected pins nested at most ${limits.pinDepth} deep, got more`);
    if (++count > limits.pins) beyond = damaged(`expected at most ${limits.pins} pins, got more`);
    if (beyond !== null) throw beyond;
    const jwe = parseCompact(nestedText);
    for (const pin of pins) {
      const sealed = pin.parse(jwe, (inner) => parseNested(inner, depth + 1));
      if (sealed !== null) return sealed;
    }
    const clevis = jwe.header['clevis'];
    throw damaged(
      `header field clevis.pin: expected one of ${pinNames.join(', ')}, got ${shown(isObject(clevis) ? clevis['pin'] : undefined)}`,
    );
  };
  const sealed = parseAt(text, 1);
  const onNetwork = sealed.uses.filter((use) => use.pin === 'tang' || use.pin === 'remote').length;
  if (onNetwork > limits.networkPins) {
    throw damaged(`expected at most ${limits.networkPins} pins on the network, got ${onNetwork}`);
  }
  return sealed;
}

/**
 * @param config the pin's configuration, parsed JSON
 * @returns the JWE in compact serialization
 * @throws AppError `bad-config` when there is no such pin, and what the pin throws
 */
export async function seal(
  name: string,
  config: unknown,
  secret: Secret,
  context: Omit<SealContext, 'seal' | 'whole'>,
): Promise<string> {
  const sealPart = (inner: string, own: unknown, part: Secret): Promise<string> => {
    const pin = pins.find((one) => one.name === inner);
    if (pin === undefined) {
      throw new AppError('bad-config', `pin: expected one of ${pinNames.join(', ')}, got ${shown(inner)}`);
    }
    return pin.seal(own, part, { ...context, whole: secret, seal: sealPart });
  };
  return await sealPart(name, config, secret);
}
