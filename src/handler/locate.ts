import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { VolumeName } from '../base/names.ts';
import type { Files } from '../base/ports.ts';
import { checkAllowed } from '../config/allow.ts';
import { settingsFor, type UrlSettings, type VolumeSettings } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { type CrypttabEntry, findInCrypttab, headerPath } from '../luks/crypttab.ts';
import { type LuksHeader, readLuksHeader } from '../luks/header.ts';
import { clevisTokens } from '../luks/tokens.ts';
import type { SealedKey } from '../pins/pin.ts';
import { parseSealedKey } from '../pins/table.ts';

export interface Places {
  /** Folder of config.yaml and volumes/. */
  readonly etc: string;
  readonly crypttab: string;
}

/** How a volume's key is opened: one of the two is there. */
export interface Located {
  readonly settings: VolumeSettings;
  readonly url: UrlSettings | null;
  /** The first that opens counts. */
  readonly sealedKeys: readonly Pick<SealedKey, 'open'>[];
}

/**
 * Finds the volume's key; the first that is there wins: ETC/volumes/VOLUME.jwe, `url:` in ETC/config.yaml, the
 * `clevis` tokens of the device that crypttab names.
 * @throws AppError `unknown-volume` when there is none; `bad-config`, `damaged`, `not-allowed`; `refused` for a
 *   device that says it is not encrypted; `unavailable` when it cannot be read
 */
export async function locate(volume: VolumeName, places: Places, files: Files): Promise<Located> {
  const path = `${places.etc}/volumes/${volume}.jwe`;
  const [config, file, entry] = await Promise.all([
    loadConfig(files, places.etc),
    files.read(path, limits.sealedKeyBytes),
    findInCrypttab(files, places.crypttab, volume),
  ]);
  const settings = settingsFor(config, volume);
  if (file !== null) {
    await examine(entry, places, files).catch(passOverUnreadable);
    return { settings, url: null, sealedKeys: [sealedKey(file.toString('latin1'), path, settings)] };
  }
  if (settings.url !== null) {
    await examine(entry, places, files).catch(passOverUnreadable);
    return { settings, url: settings.url, sealedKeys: [] };
  }
  const device = entry === null ? null : headerPath(entry, places.crypttab);
  const header = await examine(entry, places, files);
  const tokens = header === null || header.version === 1 ? [] : clevisTokens(header);
  if (tokens.length === 0) throw nothingFound(volume, places, path, device);
  const sealedKeys = tokens.map(({ id, jwe }) => unlessBroken(jwe, `${device} token ${id}`, settings));
  const servers = sealedKeys.flatMap(({ uses }) => uses).filter(({ url }) => url !== undefined);
  if (servers.length <= limits.networkPins) return { settings, url: null, sealedKeys };
  throw new AppError(
    'damaged',
    `${device}: expected at most ${limits.networkPins} pins on the network in all its tokens, got ${servers.length}`,
  );
}

/** @returns null when crypttab has no such volume, or its device is not LUKS */
async function examine(
  entry: CrypttabEntry | null,
  places: Places,
  files: Files,
): Promise<LuksHeader | null> {
  return entry === null ? null : readLuksHeader(files, headerPath(entry, places.crypttab));
}

/**
 * Where the key comes from elsewhere the header is read only to refuse a null cipher. Who could make it unreadable to
 * us alone is root already, so what cannot be read does not cost the boot.
 */
function passOverUnreadable(thrown: unknown): null {
  if (thrown instanceof AppError && (thrown.code === 'unavailable' || thrown.code === 'bad-config'))
    return null;
  throw thrown;
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
