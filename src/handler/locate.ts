import { unlessAborted } from '../base/abort.ts';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { VolumeName } from '../base/names.ts';
import type { Files } from '../base/ports.ts';
import { checkAllowed } from '../config/allow.ts';
import type { UrlSettings, VolumeSettings } from '../config/config.ts';
import { findInCrypttab, headerPath, readableHeader } from '../luks/crypttab.ts';
import { type LuksHeader, readLuksHeader } from '../luks/header.ts';
import { clevisTokens } from '../luks/tokens.ts';
import type { OpenContext, SealedKey } from '../pins/pin.ts';
import { parseSealedKey } from '../pins/table.ts';
import { type CheckKey, commitmentCheck } from './committed.ts';

export interface Places {
  /** Folder of config.yaml and volumes/. */
  readonly etc: string;
  readonly crypttab: string;
}

/** How a volume's key is opened: one of the two is there. */
export interface Located {
  readonly url: UrlSettings | null;
  /** The first that opens counts. */
  readonly sealedKeys: readonly Pick<SealedKey, 'open' | 'uses'>[];
  /** Each key that opens must pass. */
  readonly check: CheckKey;
}

export interface Search extends Places {
  readonly settings: VolumeSettings;
  readonly files: Files;
  readonly attempt: OpenContext['attempt'];
  readonly signal: AbortSignal;
}

/**
 * Finds the volume's key; the first that is there wins: ETC/volumes/VOLUME.jwe, `url:` in ETC/config.yaml, the
 * `clevis` tokens of the device that crypttab names. Wherever it is, a device that says that it is not encrypted is
 * refused; where crypttab puts the header out of reach (`readableHeader`), only systemd sees what it says.
 * @throws AppError `unknown-volume` when there is none; `bad-config`, `damaged`, `not-allowed`; `refused` for a null
 *   cipher; `unavailable` when the device cannot be read; `stopped`
 */
export async function locate(volume: VolumeName, search: Search): Promise<Located> {
  const { settings, files } = search;
  const path = `${search.etc}/volumes/${volume}.jwe`;
  const [file, entry] = await Promise.all([
    files.read(path, limits.sealedKeyBytes),
    findInCrypttab(files, search.crypttab, volume),
  ]);
  if (file !== null || settings.url !== null) {
    const device = entry === null ? null : readableHeader(entry);
    // Attached by hand, a volume may be another device than the one that crypttab names.
    const isThere = device !== null && (await files.mode(device)) !== null;
    const header = isThere ? await readHeader(device, search) : null;
    const check = await commitmentCheck(volume, header?.uuid ?? null, search.etc, files);
    if (file === null) return { url: settings.url, sealedKeys: [], check };
    return { url: null, sealedKeys: [sealedKey(file.toString('latin1'), path, settings)], check };
  }
  const device = entry === null ? null : headerPath(entry, search.crypttab);
  const header = device === null ? null : await readHeader(device, search);
  const check = await commitmentCheck(volume, header?.uuid ?? null, search.etc, files);
  const tokens = header === null ? [] : clevisTokens(header);
  if (tokens.length === 0) throw nothingFound(volume, search, path, device);
  const sealedKeys = tokens.map(({ id, jwe }) => unlessBroken(jwe, `${device} token ${id}`, settings));
  const servers = sealedKeys.flatMap(({ uses }) => uses).filter(({ url }) => url !== undefined);
  if (servers.length <= limits.networkPins) return { url: null, sealedKeys, check };
  throw new AppError(
    'damaged',
    `${device}: expected at most ${limits.networkPins} pins on the network in all its tokens, got ${servers.length}`,
  );
}

/** A device may come late, and one that stalls must not keep a handler from ending. */
function readHeader(device: string, { files, attempt, signal }: Search): Promise<LuksHeader | null> {
  return attempt(device, signal, (stop) => unlessAborted(readLuksHeader(files, device), stop));
}

function sealedKey(text: string, where: string, settings: VolumeSettings): SealedKey {
  const namePlace = (thrown: unknown): never => {
    throw thrown instanceof AppError ? thrown.at(where) : thrown;
  };
  try {
    const sealed = parseSealedKey(text);
    checkAllowed(sealed, settings, where);
    return { ...sealed, open: (context, signal) => sealed.open(context, signal).catch(namePlace) };
  } catch (thrown) {
    return namePlace(thrown);
  }
}

/** A token that cannot be used, or is of a pin not known here, does not keep the others from opening. */
function unlessBroken(
  text: string,
  where: string,
  settings: VolumeSettings,
): Pick<SealedKey, 'uses' | 'open'> {
  try {
    return sealedKey(text, where, settings);
  } catch (thrown) {
    return { uses: [], open: () => Promise.reject(thrown) };
  }
}

function nothingFound(volume: string, places: Places, path: string, device: string | null): AppError {
  const header = device === null ? `no line for it in ${places.crypttab}` : `no clevis token in ${device}`;
  return new AppError(
    'unknown-volume',
    `no sealed key for ${volume}: no ${path}, no url in ${places.etc}/config.yaml, ${header}`,
    { hint: `fetch-luks-key seal tpm2 '{}' < KEYFILE > ${path}` },
  );
}
