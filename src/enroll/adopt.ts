import { AppError } from '../base/errors.ts';
import type { Files } from '../base/ports.ts';
import { jweOf } from '../luks/tokens.ts';
import { keyFileOf } from './adopt-key-file.ts';
import type { Policy } from './policy.ts';
import type { EnrolRecord } from './record.ts';
import type { Target } from './target.ts';

/** What opens a volume without a person, made by others. */
export type Foreign =
  | { readonly kind: 'clevis'; readonly tokens: readonly Binding[] }
  | { readonly kind: 'systemd-tpm2'; readonly tokens: readonly TokenKeyslot[] }
  /** Its path. */
  | { readonly kind: 'key file'; readonly path: string };

export interface TokenKeyslot {
  readonly id: string;
  readonly keyslot: string;
}

/** What `clevis luks bind` made. */
export interface Binding extends TokenKeyslot {
  /** JWE in compact serialization, nothing in it checked yet. */
  readonly sealedKey: string;
}

/**
 * Bindings of Clevis' before all: they need no key of ours. Then tokens of systemd-cryptenroll(1), then the key file
 * that crypttab names.
 * @param records what enroll has made is no foreigner's
 * @param socket as crypttab may name it already
 * @returns null when there is none of these
 * @throws AppError `bad-config` (the key file's folder cannot be read)
 */
export async function findForeign(
  target: Target,
  records: readonly EnrolRecord[],
  socket: string,
  files: Files,
): Promise<Foreign | null> {
  const ours = records.filter(({ store }) => store.kind !== 'clevis').map(({ sealedKey }) => sealedKey);
  const bindings = tokensOf(target, 'clevis').filter(({ sealedKey }) => !ours.includes(sealedKey));
  if (bindings.length > 0) return { kind: 'clevis', tokens: bindings };
  const tokens = tokensOf(target, 'systemd-tpm2');
  if (tokens.length > 0) return { kind: 'systemd-tpm2', tokens };
  const path = target.entry?.keyFile === socket ? null : await keyFileOf(target, files);
  return path === null ? null : { kind: 'key file', path };
}

function tokensOf({ metadata }: Target, type: string): Binding[] {
  const { tokens, activeKeyslots } = metadata;
  return tokens.flatMap((token) => {
    const keyslot = token.keyslots.find((id) => activeKeyslots.includes(id));
    if (token.type !== type || keyslot === undefined) return [];
    return [{ id: token.id, keyslot, sealedKey: jweOf(token) }];
  });
}

/** What a record of enrol is replaced by, to remove what others made. */
export function replacedRecords(
  { volume, device, uuid, metadata }: Target,
  policy: Policy,
  socket: string,
  old: readonly { readonly id: string | null; readonly keyslot: string }[],
): EnrolRecord[] {
  return old.map(({ id, keyslot }) => ({
    volume,
    device,
    uuid,
    policy,
    socket,
    keyslot,
    salt: metadata.salts[keyslot] ?? null,
    keyIsKept: false,
    sealedKey: '',
    store: { kind: 'replaced', token: id },
    commitment: '',
    units: [],
    crypttab: null,
  }));
}

/**
 * Somebody must be able to open the volume when our pins do not.
 * @param old keyslots that are to be removed
 * @throws AppError `refused`
 */
export function refuseLast({ volume, device, metadata }: Target, old: readonly string[]): void {
  if (metadata.activeKeyslots.some((id) => !old.includes(id))) return;
  throw new AppError('refused', `${device}: --replace would leave no keyslot that a person can open`, {
    hint: `first: fetch-luks-key recovery-key ${volume}`,
  });
}
