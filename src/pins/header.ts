import { damaged, isObject, type Jwe, shown } from '../jwe/compact.ts';
import type { PinName } from './pin.ts';

/**
 * The pin's own object inside Clevis' header, `clevis.NAME`.
 * @returns null when `clevis.pin` names another pin
 * @throws AppError `damaged` when it names this one but the object or `alg` is not as Clevis writes them
 */
export function pinHeader(jwe: Jwe, name: PinName, alg: 'dir' | 'ECDH-ES'): Record<string, unknown> | null {
  const clevis = jwe.header['clevis'];
  if (!isObject(clevis)) throw damaged(`header field clevis: expected an object, got ${shown(clevis)}`);
  if (clevis['pin'] !== name) return null;
  const own = clevis[name];
  if (!isObject(own)) throw damaged(`header field clevis.${name}: expected an object, got ${shown(own)}`);
  if (jwe.header['alg'] !== alg) {
    throw damaged(`header field alg: expected "${alg}" for pin ${name}, got ${shown(jwe.header['alg'])}`);
  }
  return own;
}
