import { checkAllowed } from '../config/allow.ts';
import { settingsFor, type UrlSettings, type VolumeSettings } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { VolumeName } from '../base/names.ts';
import type { Files } from '../base/ports.ts';
import { findInCrypttab, headerPath } from '../luks/crypttab.ts';
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
  readonly sealedKeys: readonly SealedKey[];
}

/**
 * Finds the volume's key; the first that is there wins: ETC/volumes/VOLUME.jwe, `url:` in ETC/config.yaml, the
 * `clevis` tokens of the device that crypttab names.
 * @throws AppError `unknown-volume` when there is none; `bad-config`, `damaged`, `not-allowed`; `refused` for a
 *   device that says it is not encrypted; `unavailable` when it cannot be read
 */
export async function locate(volume: VolumeName, places: Places, files: Files): Promise<Located> {
  const path = `${places.etc}/volumes/${volume}.jwe`;
  const [config, file, device] = await Promise.all([
    loadConfig(files, places.etc),
    files.read(path, limits.sealedKeyBytes),
    findDevice(volume, places, files),
  ]);
  const settings = settingsFor(config, volume);
  if (file !== null) {
    await examine(device, files).catch(passOverUnreadable);
    return { settings, url: null, sealedKeys: [sealedKey(file.toString('latin1'), path, settings)] };
  }
  if (settings.url !== null) {
    await examine(device, files).catch(passOverUnreadable);
    return { settings, url: settings.url, sealedKeys: [] };
  }
  const header = await examine(device, files);
  const tokens = header === null || header.version === 1 ? [] : clevisTokens(header);
  if (tokens.length === 0) throw nothingFound(volume, places, path, device);
  const sealedKeys = tokens.map(({ id, jwe }) => sealedKey(jwe, `${device} token ${id}`, settings));
  return { settings, url: null, sealedKeys };
}

/** @returns where the volume's LUKS header is; null when crypttab has no such volume */
async function findDevice(volume: VolumeName, places: Places, files: Files): Promise<string | null> {
  const entry = await findInCrypttab(files, places.crypttab, volume);
  return entry === null ? null : headerPath(entry, places.crypttab);
}

async function examine(device: string | null, files: Files): Promise<LuksHeader | null> {
  return device === null ? null : readLuksHeader(files, device);
}

/**
 * Where the key comes from elsewhere the header is read only to refuse a null cipher. Who could make it unreadable to
 * us alone is root already, so what cannot be read does not cost the boot.
 */
function passOverUnreadable(thrown: unknown): null {
  if (thrown instanceof AppError && thrown.code === 'unavailable') return null;
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

function nothingFound(volume: string, places: Places, path: string, device: string | null): AppError {
  const header = device === null ? `no line for it in ${places.crypttab}` : `no clevis token in ${device}`;
  return new AppError(
    'unknown-volume',
    `no sealed key for ${volume}: no ${path}, no url in ${places.etc}/config.yaml, ${header}`,
    { hint: `fetch-luks-key seal tpm2 '{}' < KEYFILE > ${path}` },
  );
}
