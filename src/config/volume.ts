import * as v from 'valibot';
import { parseKeyPin } from '../base/key-pin.ts';
import { limits } from '../base/limits.ts';
import { type PinName, pinNames } from '../pins/pin.ts';
import { tangUrl } from '../pins/tang-server.ts';
import type { UrlSettings, VolumeSettings } from './config.ts';
import { list, path, read } from './field.ts';
import { parseDuration, parseSize } from './quantity.ts';

const allowedPins = pinNames.filter((name) => name !== 'sss');
const PINS = `a list of ${allowedPins.join(', ')}`;
const TANG = 'a list of http:// or https:// URLs';

/** The fields of one volume: `undefined` where the file has none. Every message says what was expected. */
const entries = {
  url: v.optional(read(parseUrl, 'an http:// or https:// URL without user name and password')),
  ca: v.optional(path),
  'client-certificate': v.optional(path),
  'client-key': v.optional(path),
  pin: v.optional(read(parseKeyPin, 'sha256/ and 43 characters of base64url')),
  'allow-plaintext': v.optional(v.boolean('true or false')),
  'max-size': v.optional(
    read(parseMaxSize, `a size with its unit (512B, 16KiB) from 1B to ${limits.keyBytes / 1024}KiB`),
  ),
  'give-up-after': v.optional(
    read(parseDuration, 'a duration with its unit (250ms, 90s, 5m, 2h, 1d), or 0 for no end'),
  ),
  'wait-for-allow': v.optional(
    read(parseDuration, 'a duration with its unit (250ms, 90s, 5m, 2h, 1d), or 0 for no end'),
  ),
  allow: v.optional(
    list(v.picklist<PinName[], string>(allowedPins, `one of ${allowedPins.join(', ')}`), PINS),
  ),
  'allow-tang': v.optional(list(read(tangUrl, 'an http:// or https:// URL'), TANG)),
};

export const volumeFields: readonly string[] = Object.keys(entries);
export const volumeSchema = v.object(entries, 'a map');
export type VolumeFields = v.InferOutput<typeof volumeSchema>;

function parseUrl(value: unknown): URL | null {
  const url = typeof value === 'string' ? URL.parse(value) : null;
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) return null;
  return url.username === '' && url.password === '' ? url : null;
}

function parseMaxSize(value: unknown): number | null {
  const bytes = parseSize(value);
  return bytes !== null && bytes >= 1 && bytes <= limits.keyBytes ? bytes : null;
}

export interface Contradiction {
  readonly field: string;
  readonly expected: string;
  readonly got: string;
}

const onlyWithUrl = ['ca', 'client-certificate', 'client-key', 'pin', 'allow-plaintext', 'max-size'] as const;
const onlyWithTls = ['ca', 'client-certificate', 'client-key', 'pin'] as const;

/** Fields that are right by themselves and wrong together. */
export function contradictions(fields: VolumeFields): Contradiction[] {
  const found: Contradiction[] = [];
  const without = (field: string, expected: string, got: string) => found.push({ field, expected, got });
  if (fields.url === undefined) {
    for (const field of onlyWithUrl) if (fields[field] !== undefined) without(field, 'url beside it', 'none');
  } else if (fields.url.protocol === 'http:') {
    if (fields['allow-plaintext'] !== true)
      without('url', 'https://, or allow-plaintext: true beside it', 'http://');
    for (const field of onlyWithTls)
      if (fields[field] !== undefined) without(field, 'a url with https://', 'http://');
  }
  if (fields['client-certificate'] !== undefined && fields['client-key'] === undefined)
    without('client-certificate', 'client-key beside it', 'none');
  if (fields['client-key'] !== undefined && fields['client-certificate'] === undefined)
    without('client-key', 'client-certificate beside it', 'none');
  if (fields.ca !== undefined && fields.pin !== undefined)
    without('ca', 'ca or pin, as with a pinned key the key alone decides', 'both');
  return found;
}

/** @param fields without contradictions */
export function settingsOf(fields: VolumeFields, defaultGiveUpAfterMs: number): VolumeSettings {
  return {
    url: fields.url === undefined ? null : urlSettings(fields.url, fields),
    giveUpAfterMs: fields['give-up-after'] ?? defaultGiveUpAfterMs,
    waitForAllowMs: fields['wait-for-allow'] ?? limits.waitForAllowMs,
    allow: fields.allow ?? null,
    allowTang: fields['allow-tang'] ?? null,
  };
}

function urlSettings(url: URL, fields: VolumeFields): UrlSettings {
  const certificate = fields['client-certificate'];
  const key = fields['client-key'];
  return {
    url,
    ca: fields.ca ?? null,
    pinSha256: fields.pin ?? null,
    client: certificate === undefined || key === undefined ? null : { certificate, key },
    maxBodyBytes: fields['max-size'] ?? limits.urlBodyBytes,
  };
}
