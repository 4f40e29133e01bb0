import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import type { ListenAddress } from './place.ts';

/** What stock Clevis asks: a listener whose certificate clients' system store accepts. */
export interface TangSettings {
  readonly listen: ListenAddress;
  /** Absolute paths of PEM files. */
  readonly certificate: string;
  readonly key: string;
}

/** Who is told of alerts. */
export interface WebhookSettings {
  /** `https:`, or `http:` to this machine; without user name and password. */
  readonly url: URL;
  /** Absolute path of a file with what its messages are signed with. */
  readonly secret: string;
}

/** What the server's config.yaml says, with defaults where it says nothing. */
export interface KeyServerConfig {
  readonly listen: ListenAddress;
  /** Folder of the server's key, its store and what else it keeps. */
  readonly state: string;
  /** An SQLite file, a postgres:// URL, or `file:PATH` of a file that holds one; null = keys.db in `state`. */
  readonly store: string | null;
  /** Where operators ask. */
  readonly socket: string;
  /** PEM file of key and certificate; null = the server's own. */
  readonly identity: string | null;
  readonly tang: TangSettings | null;
  readonly metrics: { readonly listen: ListenAddress } | null;
  readonly webhooks: readonly WebhookSettings[];
}

/** What an absent file says. */
export const defaultKeyServerConfig: KeyServerConfig = {
  listen: { host: '::', port: 7443 },
  state: '/var/lib/luks-key-server',
  store: null,
  socket: '/run/luks-key-server/operator.sock',
  identity: null,
  tang: null,
  metrics: null,
  webhooks: [],
};

/**
 * @returns null when there is no such file
 * @throws AppError `bad-config`
 */
export async function loadKeyServerConfig(files: Files, path: string): Promise<KeyServerConfig | null> {
  const bytes = await files.read(path, limits.configBytes);
  if (bytes === null) return null;
  const { parseKeyServerConfig } = await import('./key-server-parse.ts');
  return parseKeyServerConfig(bytes.toString(), path);
}
