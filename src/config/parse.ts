import { volumeName } from '../base/names.ts';
import { type Action, actionsSchema } from './action.ts';
import { type Config, defaultGiveUpAfterMs, emptyConfig, type VolumeSettings } from './config.ts';
import type { Path } from './document.ts';
import { protectEntries, protectSettings } from './protect.ts';
import type { Reader } from './reader.ts';
import { isServerName, type ServerSettings, serverFields, serverSchema, serverSettings } from './server.ts';
import { type SiteSettings, siteFields, siteProblems, siteSchema, siteSettings } from './site.ts';
import { type SocketSettings, socketFields, socketSchema } from './socket.ts';
import { type ConfigReading, readStrictly, rightOnly } from './strict-yaml.ts';
import { contradictions, settingsOf, volumeFields, volumeSchema } from './volume.ts';

/**
 * config.yaml for those who need it right.
 * @param path for messages
 * @throws AppError `bad-config` with the first problem and the number of the others
 */
export function parseConfig(text: string, path: string): Config {
  return rightOnly(readConfig(text), path, 'fetch-luks-key check lists everything that is wrong');
}

/** config.yaml with all that is wrong in it, in the order of its lines. */
export function readConfig(text: string): ConfigReading<Config> {
  return readStrictly(text, config);
}

function config(content: unknown, reader: Reader): Config {
  const fields = [
    'servers',
    'site',
    'volumes',
    'sockets',
    'on-revoked',
    'on-locked',
    ...Object.keys(protectEntries),
  ];
  // A file of comments alone says as much as an absent one.
  if (content === null || !reader.isMapOf(content, fields, [])) return emptyConfig;
  const servers = members(reader, content, 'servers', server);
  const hosts = content['site'] === undefined ? null : site(reader, content['site'], servers);
  const giveUpAfterMs = defaultGiveUpAfterMs(hosts);
  return {
    servers,
    site: hosts,
    volumes: members(reader, content, 'volumes', (...one) => volume(...one, giveUpAfterMs)),
    sockets: members(reader, content, 'sockets', socket),
    onRevoked: actions(reader, content, 'on-revoked'),
    onLocked: actions(reader, content, 'on-locked'),
    protect: protectSettings(reader, content),
  };
}

/** A map from names to maps; those that `member` finds wrong are left out. */
function members<T>(
  reader: Reader,
  content: Readonly<Record<string, unknown>>,
  field: string,
  member: (reader: Reader, name: string, fields: unknown, at: Path) => T | null,
): Map<string, T> {
  const { [field]: listed = {} } = content;
  const read = new Map<string, T>();
  if (!reader.isMapOf(listed, null, [field])) return read;
  for (const [name, fields] of Object.entries(listed)) {
    const one = member(reader, name, fields, [field, name]);
    if (one !== null) read.set(name, one);
  }
  return read;
}

function server(reader: Reader, name: string, fields: unknown, at: Path): ServerSettings | null {
  if (!isServerName(name)) reader.wrong(at, 'a name of letters, digits, . _ and -', JSON.stringify(name));
  if (!reader.isMapOf(fields, serverFields, at)) return null;
  const output = reader.parsed(serverSchema, fields, at);
  return output === null ? null : serverSettings(output);
}

/** @returns null when it is wrong, which was noted */
function site(
  reader: Reader,
  fields: unknown,
  servers: ReadonlyMap<string, ServerSettings>,
): SiteSettings | null {
  const at = ['site'];
  if (!reader.isMapOf(fields, siteFields, at)) return null;
  const output = reader.parsed(siteSchema, fields, at);
  if (output === null) return null;
  const settings = siteSettings(output);
  const problems = siteProblems(settings, servers);
  for (const { index, expected, got } of problems) reader.wrong([...at, 'hosts', index], expected, got);
  return problems.length === 0 ? settings : null;
}

function volume(
  reader: Reader,
  name: string,
  fields: unknown,
  at: Path,
  giveUpAfterMs: number,
): VolumeSettings | null {
  try {
    volumeName(name);
  } catch (thrown) {
    reader.add(at, thrown instanceof Error ? thrown.message : String(thrown));
  }
  if (!reader.isMapOf(fields, volumeFields, at)) return null;
  const output = reader.parsed(volumeSchema, fields, at);
  if (output === null) return null;
  const together = contradictions(output);
  for (const { field, expected, got } of together) reader.wrong([...at, field], expected, got);
  return together.length === 0 ? settingsOf(output, giveUpAfterMs) : null;
}

function socket(reader: Reader, path: string, fields: unknown, at: Path): SocketSettings | null {
  if (!path.startsWith('/')) reader.wrong(at, 'the absolute path of a socket', JSON.stringify(path));
  return reader.isMapOf(fields, socketFields, at) ? reader.parsed(socketSchema, fields, at) : null;
}

function actions(
  reader: Reader,
  content: Readonly<Record<string, unknown>>,
  field: string,
): readonly Action[] {
  const { [field]: listed } = content;
  return listed === undefined ? [] : (reader.parsed(actionsSchema, listed, [field]) ?? []);
}
