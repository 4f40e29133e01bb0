/** `protect-with-tpm:` of config.yaml: what the machine keeps is protected where that works, or else not kept, or not. */
export const protectModes = ['best-effort', 'require', 'never'] as const;
export type ProtectMode = (typeof protectModes)[number];

/** `protection:` of config.yaml. */
export const protectMethods = ['parsec', 'tpm2', 'tpm2-aes'] as const;
export type ProtectMethod = (typeof protectMethods)[number];

export interface ProtectSettings {
  readonly mode: ProtectMode;
  /** null = Parsec where it works, else `tpm2`. */
  readonly method: ProtectMethod | null;
}

/** Where config.yaml says nothing. */
export const protectByDefault: ProtectSettings = { mode: 'best-effort', method: null };
