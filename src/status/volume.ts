import { type AppError, asAppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { VolumeName } from '../base/names.ts';
import type { Files } from '../base/ports.ts';
import type { Config } from '../config/config.ts';
import { settingsFor } from '../config/config.ts';
import { type EnrolRecord, enrolledOf } from '../enroll/record.ts';
import { commitmentsPath } from '../handler/committed.ts';
import type { Places } from '../handler/locate.ts';
import { parseCommitments } from '../luks/commitment.ts';
import { type CrypttabEntry, headerPath, parseCrypttab } from '../luks/crypttab.ts';
import { type LuksHeader, readLuksHeader } from '../luks/header.ts';
import type { Metadata } from '../luks/metadata.ts';
import { jweOf } from '../luks/tokens.ts';
import { parseSealedKey } from '../pins/table.ts';
import { type Policy, policyOf } from './policy.ts';

/** Where our sockets are: a key file of crypttab in it is ours. */
export const SOCKETS = '/run/fetch-luks-key/';

/** A sealed key, and how it opens. */
export interface SealedKeyFacts {
  /** File, or `DEVICE token ID`. */
  readonly where: string;
  /** JWE in compact serialization. */
  readonly text: string;
  /** Those that its token names; none for a file, which may open any. */
  readonly keyslots: readonly string[];
  /** null: it is damaged, or of a pin not known here, as `fault` says. */
  readonly policy: Policy | null;
  readonly fault: AppError | null;
}

export interface VolumeFacts {
  readonly entry: CrypttabEntry;
  readonly volume: VolumeName;
  /** What holds its LUKS header; null: crypttab does not say in a way that can be read. */
  readonly device: string | null;
  readonly header: LuksHeader | null;
  /** Why there is no header; null beside null: the device is there and holds none. */
  readonly headerFault: AppError | null;
  /** Those that the handler tries: the file's, or else the tokens'. */
  readonly used: readonly SealedKeyFacts[];
  /** Those in tokens that the handler passes over for a file or a URL. */
  readonly unused: readonly SealedKeyFacts[];
  /** Its key comes from a URL, without its query, which may hold a secret. */
  readonly url: string | null;
  /** LUKS UUIDs that its keys were committed to; null: it has no commitments, or `commitmentFault` says why not. */
  readonly committed: readonly string[] | null;
  readonly commitmentFault: AppError | null;
  /** What `enroll` has noted of its keys; none when it has made none, or the notes cannot be read. */
  readonly enrolled: readonly EnrolRecord[];
}

/** crypttab's lines whose key file is one of our sockets. @throws AppError `bad-config` */
export async function ourEntries(files: Files, crypttab: string): Promise<CrypttabEntry[]> {
  const text = await files.read(crypttab, limits.configBytes);
  const { entries } = parseCrypttab(text?.toString() ?? '');
  return entries.filter(({ keyFile }) => keyFile?.startsWith(SOCKETS));
}

/** All that the disk says of one volume. Nothing is opened. @throws AppError `bad-config` */
export async function volumeFacts(
  entry: CrypttabEntry,
  volume: VolumeName,
  config: Config,
  { etc, crypttab }: Places,
  files: Files,
): Promise<VolumeFacts> {
  const device = deviceOf(entry, crypttab);
  const { header, fault } = await headerOf(device, files);
  const path = `${etc}/volumes/${volume}.jwe`;
  const file = await files.read(path, limits.sealedKeyBytes);
  const url = settingsFor(config, volume).url?.url;
  const inTokens = header?.version === 2 ? tokenKeys(header.metadata, device ?? '') : [];
  const inFile = file === null ? [] : [sealedKeyFacts(file.toString('latin1'), path, [])];
  const elsewhere = file !== null || url !== undefined;
  return {
    entry,
    volume,
    device,
    header,
    headerFault: fault,
    used: elsewhere ? inFile : inTokens,
    unused: elsewhere ? inTokens : [],
    url: file === null && url !== undefined ? url.origin + url.pathname : null,
    ...(await commitmentsOf(etc, volume, files)),
    enrolled: await enrolledOf(etc, volume, files).catch(() => []),
  };
}

function deviceOf(entry: CrypttabEntry, crypttab: string): string | null {
  try {
    return headerPath(entry, crypttab);
  } catch {
    return null;
  }
}

async function headerOf(device: string | null, files: Files) {
  if (device === null) return { header: null, fault: null };
  try {
    return { header: await readLuksHeader(files, device), fault: null };
  } catch (thrown) {
    return { header: null, fault: asAppError(thrown) };
  }
}

/** `clevis` tokens whose keyslot still opens the data. */
function tokenKeys({ tokens, activeKeyslots }: Metadata, device: string): SealedKeyFacts[] {
  return tokens
    .map((token) => ({ ...token, keyslots: token.keyslots.filter((id) => activeKeyslots.includes(id)) }))
    .filter(({ type, keyslots }) => type === 'clevis' && keyslots.length > 0)
    .map((token) => sealedKeyFacts(jweOf(token), `${device} token ${token.id}`, token.keyslots));
}

export function sealedKeyFacts(text: string, where: string, keyslots: readonly string[]): SealedKeyFacts {
  try {
    parseSealedKey(text);
    return { where, text, keyslots, policy: policyOf(text), fault: null };
  } catch (thrown) {
    return { where, text, keyslots, policy: null, fault: asAppError(thrown) };
  }
}

async function commitmentsOf(
  etc: string,
  volume: VolumeName,
  files: Files,
): Promise<Pick<VolumeFacts, 'committed' | 'commitmentFault'>> {
  const path = commitmentsPath(etc, volume);
  try {
    const text = await files.read(path, limits.commitmentsBytes);
    const committed = text === null ? null : parseCommitments(text.toString(), path).map(({ uuid }) => uuid);
    return { committed, commitmentFault: null };
  } catch (thrown) {
    return { committed: null, commitmentFault: asAppError(thrown) };
  }
}
