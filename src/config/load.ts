import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import { type Config, emptyConfig } from './config.ts';
import type { ServerSettings } from './server.ts';
import { readServerKeys } from './server-keys.ts';

/**
 * ETC/config.yaml, and what is known of the keys of the servers that it names. The YAML parser costs more than opening a sealed key does, so it is loaded only for a file that
 * is there.
 * @throws AppError `bad-config`
 */
export async function loadConfig(files: Files, etc: string): Promise<Config> {
  const path = `${etc}/config.yaml`;
  const bytes = await files.read(path, limits.configBytes);
  if (bytes === null) return emptyConfig;
  const { parseConfig } = await import('./parse.ts');
  const config = parseConfig(bytes.toString(), path);
  const servers = new Map<string, ServerSettings>();
  for (const [name, settings] of config.servers) {
    servers.set(name, { ...settings, keys: await readServerKeys(files, etc, settings.pinSha256) });
  }
  return { ...config, servers };
}
