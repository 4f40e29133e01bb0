import type { CredentialName, UnitName } from '../base/names.ts';
import type { CredentialAddress } from './address.ts';

/**
 * What is sealed: the secret itself, for `LoadCredential=`, or systemd's encrypted credential of it, for
 * `LoadCredentialEncrypted=` (systemd.exec(5)). The two lie apart, as systemd keeps them apart too.
 */
export const forms = ['plain', 'encrypted'] as const;
export type Form = (typeof forms)[number];

/** Where the sealed keys of services' secrets lie, a folder for each unit. */
export const credentialsFolder = (etc: string, form: Form) =>
  `${etc}/credentials${form === 'plain' ? '' : '.encrypted'}`;

export function credentialPath(etc: string, { unit, credential }: CredentialAddress, form: Form): string {
  return `${credentialsFolder(etc, form)}/${unit}/${credential}.jwe`;
}

/** How it was sealed, beside it. */
export function recordPath(etc: string, { unit, credential }: CredentialAddress, form: Form): string {
  return `${credentialsFolder(etc, form)}/${unit}/${credential}.json`;
}

/** `foo@.service` for `foo@bar.service` (systemd.unit(5)); null for a unit that is no instance. */
export function templateOf(unit: UnitName): UnitName | null {
  const [, prefix, instance, type] = /^([^@]+@)(.*)(\.[a-z]+)$/s.exec(unit) ?? [];
  return instance === undefined || instance === '' ? null : (`${prefix}${type}` as UnitName);
}

/** Where the secret of a unit may lie: its own, then its template's; of each the forms in their order. */
export function placesOf(
  etc: string,
  { unit, credential }: { readonly unit: UnitName; readonly credential: CredentialName },
  served: readonly Form[],
): string[] {
  const template = templateOf(unit);
  const units = template === null ? [unit] : [unit, template];
  return units.flatMap((one) => served.map((form) => credentialPath(etc, { unit: one, credential }, form)));
}
