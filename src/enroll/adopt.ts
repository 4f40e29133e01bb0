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
 * Bindings of Clevis' come first: they need no key of ours. Then tokens of systemd-cryptenroll(1), then the key file that
 * crypttab names.
 * @param records what enroll has made is no foreigner's
 * @param socket as crypttab may name it already
 * @throws AppError `bad-config` (the key file's folder cannot be read)
 */
export async function findForeign(
  target: Target,
  records: readonly EnrolRecord[],
  socket: string,
  files: Files,
): Promise<Foreign[]> {
  const ours = records.filter(({ store }) => store.kind !== 'clevis').map(({ sealedKey }) => sealedKey);
  const bindings = tokensOf(target, 'clevis').filter(({ sealedKey }) => !ours.includes(sealedKey));
  const tokens = tokensOf(target, 'systemd-tpm2');
  const path = target.entry?.keyFile === socket ? null : await keyFileOf(target, files);
  return [
    ...(bindings.length > 0 ? [{ kind: 'clevis', tokens: bindings } as const] : []),
    ...(tokens.length > 0 ? [{ kind: 'systemd-tpm2', tokens } as const] : []),
    ...(path === null ? [] : [{ kind: 'key file', path } as const]),
  ];
}

/** For people. */
export function foreignText(foreign: Foreign): string {
  if (foreign.kind === 'key file') return foreign.path;
  const ids = foreign.tokens.map(({ id }) => id).join(', ');
  return `token ${ids} of ${foreign.kind === 'clevis' ? 'Clevis' : 'systemd-cryptenroll'}`;
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

/** Token types of systemd-cryptenroll(1) whose key a person has. */
const BY_PERSON = ['systemd-recovery', 'systemd-fido2', 'systemd-pkcs11'];

/**
 * Somebody must be able to open the volume when our pins do not: with a passphrase, or with what a token says.
 * @param old keyslots that are to be removed
 * @param records our own, which only pins open
 * @param fast keyslots with a key derivation for random keys, which nobody types
 * @throws AppError `refused`
 */
export function refuseLast(
  { volume, device, metadata }: Target,
  old: readonly string[],
  records: readonly EnrolRecord[],
  fast: readonly string[],
): void {
  const byPins = [...old, ...records.map(({ keyslot }) => keyslot)];
  const isForPerson = (id: string) => {
    const tokens = metadata.tokens.filter(({ keyslots }) => keyslots.includes(id));
    return tokens.length === 0 ? !fast.includes(id) : tokens.some(({ type }) => BY_PERSON.includes(type));
  };
  if (metadata.activeKeyslots.some((id) => !byPins.includes(id) && isForPerson(id))) return;
  throw new AppError('refused', `${device}: --replace would leave no keyslot that a person can open`, {
    hint: `first: fetch-luks-key recovery-key ${volume}`,
  });
}
