import type { LuksHeader } from './header.ts';
import { isObject, type Json, type Token } from './metadata.ts';

export interface ClevisToken {
  readonly id: string;
  /** JWE in compact serialization (RFC 7516 §7.1), nothing in it checked yet. */
  readonly jwe: string;
}

/** The tokens that `clevis luks bind` left and whose keyslot still opens the data, in ascending order of their ids. */
export function clevisTokens(header: LuksHeader): ClevisToken[] {
  if (header.version === 1) return [];
  const { tokens, activeKeyslots } = header.metadata;
  return tokens
    .filter(({ type, keyslots }) => type === 'clevis' && keyslots.some((id) => activeKeyslots.includes(id)))
    .map((token) => ({ id: token.id, jwe: jweOf(token) }));
}

/** What a `clevis` token holds, in compact serialization. */
export function jweOf({ content }: Token): string {
  return compact(isObject(content.jwe) ? content.jwe : {});
}

/**
 * Clevis keeps a JWE's parts as members of an object (RFC 7516 §7.2.2). What is not text stays empty here: whoever
 * reads the sealed key says which part is wrong.
 */
function compact(jwe: Json): string {
  return ['protected', 'encrypted_key', 'iv', 'ciphertext', 'tag']
    .map((name) => (typeof jwe[name] === 'string' ? jwe[name] : ''))
    .join('.');
}

/**
 * A token as `clevis luks bind` writes it.
 * @param jwe compact serialization
 */
export function clevisTokenOf(jwe: string, keyslot: string): Json {
  const [header, encryptedKey, iv, ciphertext, tag] = jwe.split('.');
  const members = { ciphertext, encrypted_key: encryptedKey, iv, protected: header, tag };
  return { type: 'clevis', keyslots: [keyslot], jwe: members };
}
