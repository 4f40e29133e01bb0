/** What a finding means for the next boot. */
export type Severity = 'breaks-boot' | 'weakens' | 'note';

/** Every finding that there is, in the order of docs/DOCTOR.md, which has a section for each. */
export const severityOf = {
  // The socket, its service, and when they start.
  'socket-missing': 'breaks-boot',
  'socket-not-enabled': 'breaks-boot',
  'socket-too-late': 'breaks-boot',
  'ordering-cycle': 'breaks-boot',
  'handler-deadlock': 'breaks-boot',
  'network-after-volume': 'breaks-boot',
  'remote-target-off': 'breaks-boot',
  'socket-deleted': 'breaks-boot',
  'program-missing': 'breaks-boot',
  'group-missing': 'breaks-boot',
  'handler-not-root': 'breaks-boot',
  'credential-refused': 'breaks-boot',
  'credential-socket-late': 'weakens',
  'credential-may-be-empty': 'weakens',
  'units-not-checked': 'note',
  'other-init': 'note',
  // crypttab, config.yaml, sealed keys.
  'configuration-wrong': 'breaks-boot',
  'name-too-long': 'breaks-boot',
  'option-conflict': 'breaks-boot',
  'plain-volume': 'breaks-boot',
  'volume-ignored': 'breaks-boot',
  'no-sealed-key': 'breaks-boot',
  'sealed-key-damaged': 'breaks-boot',
  'pin-not-allowed': 'breaks-boot',
  'file-mode': 'weakens',
  'nofail-mismatch': 'weakens',
  'holds-up-boot': 'note',
  'may-prompt': 'note',
  // LUKS headers.
  'device-missing': 'breaks-boot',
  'header-unusable': 'breaks-boot',
  'not-encrypted': 'breaks-boot',
  'other-disk': 'breaks-boot',
  'other-keys': 'breaks-boot',
  'commitment-damaged': 'breaks-boot',
  'empty-passphrase': 'weakens',
  'token-dead': 'weakens',
  'token-not-enrolled': 'weakens',
  'keyslot-leftover': 'weakens',
  'enrolment-unfinished': 'weakens',
  'no-commitment': 'weakens',
  'no-recovery': 'note',
  // What the sealed keys need.
  'will-not-open': 'breaks-boot',
  'pin-does-not-answer': 'weakens',
  'no-pcr': 'weakens',
  'pcr-zero': 'weakens',
  'pcr-volatile': 'note',
  'parsec-too-late': 'breaks-boot',
  'tpm-lockout': 'weakens',
  'tpm-full': 'weakens',
  'machine-locked': 'weakens',
  'machine-revoked': 'weakens',
  'machine-unknown': 'weakens',
  'server-unreachable': 'weakens',
  'server-other-key': 'weakens',
  'keepalive-off': 'weakens',
  'act-off': 'weakens',
  'identity-unusable': 'weakens',
  'identity-unprotected': 'weakens',
  'server-behind-volume': 'breaks-boot',
  'clock-wrong': 'weakens',
  // A volume that the root file system is on.
  'initramfs-incomplete': 'breaks-boot',
  'initramfs-not-checked': 'note',
} as const satisfies Record<string, Severity>;

export type FindingCode = keyof typeof severityOf;

export interface Finding {
  readonly code: FindingCode;
  readonly severity: Severity;
  /** Volume, unit, file or server. */
  readonly about: string;
  /** One clause: what is, and what comes of it. */
  readonly what: string;
  /** One clause: what to do. */
  readonly fix: string;
}

export function finding(code: FindingCode, about: string, what: string, fix: string): Finding {
  return { code, severity: severityOf[code], about, what, fix };
}

const order: readonly Severity[] = ['breaks-boot', 'weakens', 'note'];

/** The worst first; otherwise as they were found. */
export function sorted(findings: readonly Finding[]): Finding[] {
  return findings.toSorted((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
}
