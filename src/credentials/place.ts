import type { CredentialName, UnitName } from '../base/names.ts';

/** Where the sealed keys of services' secrets lie, a folder for each unit. */
export const credentialsFolder = (etc: string) => `${etc}/credentials`;

export function credentialPath(etc: string, unit: UnitName, credential: CredentialName): string {
  return `${credentialsFolder(etc)}/${unit}/${credential}.jwe`;
}

/** `foo@.service` for `foo@bar.service` (systemd.unit(5)); null for a unit that is no instance. */
export function templateOf(unit: UnitName): UnitName | null {
  const [, prefix, instance, type] = /^([^@]+@)(.*)(\.[a-z]+)$/s.exec(unit) ?? [];
  return instance === undefined || instance === '' ? null : (`${prefix}${type}` as UnitName);
}
