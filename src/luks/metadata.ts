import { limits } from '../base/limits.ts';
import { damaged, isNullCipher, notEncrypted, quoted } from './fault.ts';

export type Json = Readonly<Record<string, unknown>>;

/** What is used of the JSON area (LUKS2 on-disk format §3), every cipher in it looked at. */
export interface Metadata {
  /** Ids of all keyslots, in ascending order: those that do not open the data take a place too. */
  readonly keyslots: readonly string[];
  /** Ids of the keyslots that open the data, in ascending order. */
  readonly activeKeyslots: readonly string[];
  /** By id: the salt of a keyslot's key derivation, base64, which no other keyslot ever has. */
  readonly salts: Readonly<Record<string, string>>;
  /** In ascending order of their ids. */
  readonly tokens: readonly Token[];
}

export interface Token {
  readonly id: string;
  readonly type: string;
  readonly keyslots: readonly string[];
  /** The whole token: what else is in it is for its type to say. */
  readonly content: Json;
}

/**
 * @param area the JSON area: one JSON object, then NUL to the end
 * @param path for messages
 * @throws AppError `damaged`, `refused`
 */
export function parseMetadata(area: Buffer, path: string): Metadata {
  const json = parseArea(area, path);
  const keyslots = members(json, 'keyslots', path);
  const digests = members(json, 'digests', path);
  for (const [id, segment] of members(json, 'segments', path)) checkSegment(id, segment, path);
  for (const [id, keyslot] of keyslots) checkKeyslot(id, keyslot, path);
  // §3.5: a keyslot opens the data when a digest ties its key to a segment; others hold keys of no consequence.
  const bound = digests.flatMap(([id, digest]) => {
    const what = `digest ${id}`;
    const segments = strings(digest.segments, `${what}: segments`, path);
    return segments.length === 0 ? [] : strings(digest.keyslots, `${what}: keyslots`, path);
  });
  const isActive = ([id, keyslot]: [string, Json]) => keyslot.type === 'luks2' && bound.includes(id);
  return {
    keyslots: keyslots.map(([id]) => id),
    activeKeyslots: keyslots.filter(isActive).map(([id]) => id),
    salts: Object.fromEntries(keyslots.map(([id, keyslot]) => [id, saltOf(keyslot)])),
    tokens: members(json, 'tokens', path).map(([id, content]) => tokenOf(id, content, path)),
  };
}

function parseArea(area: Buffer, path: string): Json {
  const end = area.indexOf(0);
  const rest = end === -1 ? area : area.subarray(end);
  if (end === -1 || rest.some((byte) => byte !== 0))
    throw damaged(path, 'expected JSON and then NUL to the end');
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(area.subarray(0, end));
    // cryptsetup's JSON parser ends a string at NUL: a name or value that goes on is not the one that it reads.
    const json: unknown = text.includes('\\u0000') ? null : JSON.parse(text);
    if (isObject(json)) return json;
  } catch {
    // Not JSON: said below. The parser's own message would quote the area.
  }
  throw damaged(path, 'expected a JSON object');
}

/** The objects in an object, by their ids (§3.1: decimal numbers as text), which JavaScript keeps in ascending order. */
function members(json: Json, name: string, path: string): [id: string, member: Json][] {
  const all = json[name];
  if (!isObject(all)) throw damaged(path, `${name}: expected a JSON object`);
  const entries = Object.entries(all);
  if (entries.length > limits.luksObjects) {
    throw damaged(path, `${name}: expected at most ${limits.luksObjects}, got ${entries.length}`);
  }
  return entries.map(([id, member]) => {
    if (/^(?:0|[1-9][0-9]{0,8})$/.test(id) && isObject(member)) return [id, member];
    throw damaged(path, `${name}: expected objects with a number each, got ${quoted(id)}`);
  });
}

/**
 * Only what the kernel encrypts may hold data. A segment of type `linear` is plain data (§3.3), which a disk in the
 * middle of its first encryption has, and one that was tampered with.
 */
function checkSegment(id: string, segment: Json, path: string): void {
  const { type, encryption } = segment;
  const what = `segment ${id}`;
  if (type !== 'crypt' && type !== 'hw-opal-crypt')
    throw notEncrypted(path, `${what} of type ${quoted(type)}`, null);
  if (typeof encryption !== 'string') throw damaged(path, `${what}: encryption: expected text`);
  if (isNullCipher(encryption)) throw notEncrypted(path, what, encryption);
}

/** Bytes of the smallest key that a keyslot's area is really encrypted with: AES-128's. */
const SMALLEST_KEY_BYTES = 16;

/** A keyslot whose area is not encrypted, or with a key that can be guessed, opens with any key at all. */
function checkKeyslot(id: string, keyslot: Json, path: string): void {
  if (keyslot.type !== 'luks2') return;
  const area = isObject(keyslot.area) ? keyslot.area : {};
  const { encryption, key_size: keyBytes } = area;
  if (typeof keyBytes !== 'number' || keyBytes < SMALLEST_KEY_BYTES) {
    throw damaged(path, `keyslot ${id}: area.key_size: expected at least ${SMALLEST_KEY_BYTES} bytes`);
  }
  if (typeof encryption !== 'string') throw damaged(path, `keyslot ${id}: area.encryption: expected text`);
  if (isNullCipher(encryption)) throw notEncrypted(path, `keyslot ${id}`, encryption);
}

function saltOf({ kdf }: Json): string {
  return isObject(kdf) && typeof kdf.salt === 'string' ? kdf.salt : '';
}

function tokenOf(id: string, content: Json, path: string): Token {
  const { type } = content;
  if (typeof type !== 'string') throw damaged(path, `token ${id}: type: expected text`);
  return { id, type, keyslots: strings(content.keyslots, `token ${id}: keyslots`, path), content };
}

function strings(value: unknown, what: string, path: string): string[] {
  if (
    !Array.isArray(value) ||
    value.length > limits.luksObjects ||
    !value.every((one) => typeof one === 'string')
  ) {
    throw damaged(path, `${what}: expected a list of at most ${limits.luksObjects} numbers as text`);
  }
  return value;
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
