import * as v from 'valibot';
import type { Path } from './document.ts';
import { path, read } from './field.ts';
import { defaultKeyServerConfig, type KeyServerConfig, type WebhookSettings } from './key-server.ts';
import { parseListenAddress } from './place.ts';
import type { Reader } from './reader.ts';
import { readStrictly, rightOnly } from './strict-yaml.ts';

const listen = read(parseListenAddress, "an address with its port ('[::]:7443', 192.0.2.1:7443)");
const STORE = 'an absolute path, file: and an absolute path, or a postgres:// URL without a password';
const HOOK = 'an https:// URL (http:// to 127.0.0.1 or [::1] alone) without user name and password';

/** Where a field may be missing, the default is what an absent file says; else null is read, and told as wrong. */
const { listen: LISTEN, state, socket } = defaultKeyServerConfig;
const top = {
  listen: v.optional(listen, `[${LISTEN.host}]:${LISTEN.port}`),
  state: v.optional(path, state),
  store: v.optional(read(parseStore, STORE)),
  socket: v.optional(path, socket),
  identity: v.optional(path),
};
const tang = {
  listen: v.optional(listen, null),
  certificate: v.optional(path, null),
  key: v.optional(path, null),
};
const metrics = { listen: v.optional(listen, null) };
const webhook = { url: v.optional(read(parseHook, HOOK), null), secret: v.optional(path, null) };

/**
 * The server's config.yaml.
 * @param file for messages
 * @throws AppError `bad-config` with the first problem and the number of the others
 */
export function parseKeyServerConfig(text: string, file: string): KeyServerConfig {
  return rightOnly(readStrictly(text, config), file);
}

function config(content: unknown, reader: Reader): KeyServerConfig {
  const fields = [...Object.keys(top), 'tang', 'metrics', 'webhooks'];
  // A file of comments alone says as much as an absent one.
  if (content === null || !reader.isMapOf(content, fields, [])) return defaultKeyServerConfig;
  const plain = reader.parsed(v.object(top), content, []) ?? defaultKeyServerConfig;
  return {
    ...plain,
    store: plain.store ?? null,
    identity: plain.identity ?? null,
    tang: content['tang'] === undefined ? null : mapOf(reader, content['tang'], tang, ['tang']),
    metrics:
      content['metrics'] === undefined ? null : mapOf(reader, content['metrics'], metrics, ['metrics']),
    webhooks: content['webhooks'] === undefined ? [] : webhooks(reader, content['webhooks']),
  };
}

function webhooks(reader: Reader, listed: unknown): WebhookSettings[] {
  const list = reader.parsed(v.array(v.unknown(), 'a list of { url, secret }'), listed, ['webhooks']) ?? [];
  return list
    .map((one, index) => mapOf(reader, one, webhook, ['webhooks', index]))
    .filter((one) => one !== null);
}

/** @returns null when it is wrong, which was noted */
function mapOf<const Entries extends v.ObjectEntries>(
  reader: Reader,
  value: unknown,
  entries: Entries,
  at: Path,
): v.InferOutput<v.ObjectSchema<Entries, undefined>> | null {
  return reader.isMapOf(value, Object.keys(entries), at) ? reader.parsed(v.object(entries), value, at) : null;
}

/** A password has no place in a file that is not only for the server. */
function parseStore(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  if (/^(file:)?\/[^\0]*$/.test(value)) return value;
  const url = URL.parse(value);
  const isPostgres = url?.protocol === 'postgres:' || url?.protocol === 'postgresql:';
  return isPostgres && url.password === '' && !url.searchParams.has('password') ? value : null;
}

function parseHook(value: unknown): URL | null {
  const url = typeof value === 'string' ? URL.parse(value) : null;
  if (url === null || url.username !== '' || url.password !== '') return null;
  const isHere = url.hostname === '127.0.0.1' || url.hostname === '[::1]';
  return url.protocol === 'https:' || (url.protocol === 'http:' && isHere) ? url : null;
}
