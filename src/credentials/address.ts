import { AppError } from '../base/errors.ts';
import { type CredentialName, credentialName, type UnitName } from '../base/names.ts';

export interface CredentialAddress {
  readonly unit: UnitName;
  readonly credential: CredentialName;
}

/** systemd.unit(5), for services alone. */
const SERVICE = /^[A-Za-z0-9:_.\\@-]+\.service$/;
/** Of what systemd takes (systemd.exec(5)), what needs no quoting in a unit. */
const ID = /^[A-Za-z0-9._-]+$/;

/**
 * A secret as a person names it: stricter than what is answered, as one that systemd would never ask for is a slip.
 * @param text `UNIT/ID`
 * @throws AppError `usage`, `bad-request`
 */
export function credentialAddress(text: string): CredentialAddress {
  const slash = text.indexOf('/');
  const [unit, id] = [text.slice(0, Math.max(slash, 0)), text.slice(slash + 1)];
  if (!SERVICE.test(unit) || !ID.test(id)) {
    throw new AppError('usage', `expected UNIT.service/ID, got ${JSON.stringify(text)}`, {
      hint: 'for example nginx.service/tls-key; an ID has letters, digits, . _ and -',
    });
  }
  return credentialName(unit, id);
}
