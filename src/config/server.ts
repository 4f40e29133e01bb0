import * as v from 'valibot';
import { parseKeyPin } from '../base/key-pin.ts';
import { path, read } from './field.ts';
import { onlyKey, type ServerKeys } from './server-keys.ts';

/** A key server that this machine has joined. */
export interface ServerSettings {
  /** `https://host:port`, without path, user name and password. */
  readonly url: URL;
  /** SHA-256 of its key's SubjectPublicKeyInfo, when it was joined: what this machine knows it by. */
  readonly pinSha256: Buffer;
  /** What follows that key; the key itself alone until `loadConfig` has looked. */
  readonly keys: ServerKeys;
  /** Absolute path of this machine's key and certificate for it. */
  readonly identity: string;
}

/** A field that is missing is read as null, and told as any other wrong value is. */
const entries = {
  url: v.optional(read(parseOrigin, 'an https:// URL without path, user name and password'), null),
  pin: v.optional(read(parseKeyPin, 'sha256/ and 43 characters of base64url'), null),
  identity: v.optional(path, null),
};

export const serverFields: readonly string[] = Object.keys(entries);
export const serverSchema = v.object(entries, 'a map');

/** @param fields as `serverSchema` gives them */
export function serverSettings({ url, pin, identity }: v.InferOutput<typeof serverSchema>): ServerSettings {
  return { url, pinSha256: pin, keys: onlyKey(pin), identity };
}

/** Names are shown, and are part of file names. */
export function isServerName(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(text);
}

export function parseOrigin(value: unknown): URL | null {
  const url = typeof value === 'string' ? URL.parse(value) : null;
  if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '') return null;
  return url.pathname === '/' && url.search === '' && url.hash === '' ? url : null;
}
