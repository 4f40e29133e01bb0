import type { Secret } from '../../base/secret.ts';

/** The server's own files, as its operators may have them looked after. */
export interface Upkeep {
  /** @returns path of a new file @throws AppError `unavailable`, `damaged` */
  backup(passphrase: Secret): Promise<string>;
  /** @returns the new version @throws AppError `refused`, `bad-config`, `damaged` */
  rotateMaster(): Promise<number>;
  facts(): Promise<ServerFacts>;
}

export interface ServerFacts {
  /** null: it is a credential. */
  readonly masterKeyFile: string | null;
  /** Where the server's files are. */
  readonly freeBytes: number;
  /** Milliseconds since 1970; null: no Tang client is served. */
  readonly tangCertificateEndsMs: number | null;
  readonly webhooksDropped: number;
  /** Name of the file, which begins with its date. */
  readonly newestBackup: string | null;
}
