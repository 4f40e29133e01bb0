import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import { type Config, emptyConfig } from './config.ts';

/**
 * ETC/config.yaml. The YAML parser costs more than opening a sealed key does, so it is loaded only for a file that
 * is there.
 * @throws AppError `bad-config`
 */
export async function loadConfig(files: Files, etc: string): Promise<Config> {
  const path = `${etc}/config.yaml`;
  const bytes = await files.read(path, limits.configBytes);
  if (bytes === null) return emptyConfig;
  const { parseConfig } = await import('./parse.ts');
  return parseConfig(bytes.toString(), path);
}
