import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';

/** One line of crypttab(5), read as systemd-cryptsetup-generator(8) reads it. */
export interface CrypttabEntry {
  readonly line: number;
  readonly volume: string;
  /** Path of the encrypted device or image; `UUID=` and its like as udev's link under /dev/disk. */
  readonly device: string;
  /** As written; null: none, so systemd asks for a passphrase. */
  readonly keyFile: string | null;
  readonly options: readonly string[];
  /** `header=`: where a detached LUKS header is; null = at the device's beginning. */
  readonly header: { readonly path: string; readonly onDevice: string | null } | null;
}

export interface CrypttabProblem {
  readonly line: number;
  readonly message: string;
}

export interface Crypttab {
  readonly entries: readonly CrypttabEntry[];
  readonly problems: readonly CrypttabProblem[];
}

/**
 * Fields are words between white space, without quotes and without escapes; what follows the fourth is ignored, as
 * are empty lines and those that begin with `#`. A line with a problem has no entry, except that of two lines for one
 * volume the first counts.
 */
export function parseCrypttab(text: string): Crypttab {
  const entries: CrypttabEntry[] = [];
  const problems: CrypttabProblem[] = [];
  for (const [index, content] of text.split('\n').entries()) {
    const line = index + 1;
    const fields = content.split(/[ \t\r\v\f]+/).filter((field) => field !== '');
    const [volume, device] = fields;
    if (volume === undefined || volume.startsWith('#')) continue;
    if (device === undefined) {
      problems.push({ line, message: `expected a name and a device, got ${JSON.stringify(volume)} alone` });
      continue;
    }
    const earlier = entries.find((entry) => entry.volume === volume);
    if (earlier === undefined) entries.push(entryOf(line, volume, device, fields[2], fields[3]));
    else problems.push({ line, message: `expected ${volume} once, got it on line ${earlier.line} already` });
  }
  return { entries, problems };
}

function entryOf(
  line: number,
  volume: string,
  device: string,
  keyFile: string | undefined,
  optionField = '',
): CrypttabEntry {
  const options = splitOptions(optionField);
  const header = options.findLast((option) => option.startsWith('header='));
  return {
    line,
    volume,
    device: devicePath(device),
    keyFile: keyFile === undefined || keyFile === 'none' || keyFile === '-' ? null : keyFile,
    options,
    header: header === undefined ? null : location(header.slice('header='.length)),
  };
}

/** Options are separated by commas; `\,` is a comma and `\\` a backslash inside one, other backslashes stay. */
export const OPTION = /(?:\\.|[^,\\]|\\$)+/gs;

function splitOptions(field: string): string[] {
  const words = field.match(OPTION) ?? [];
  return words.map((word) => word.replaceAll(/\\([,\\])/g, '$1'));
}

const links: Readonly<Record<string, string>> = {
  UUID: 'uuid',
  PARTUUID: 'partuuid',
  LABEL: 'label',
  PARTLABEL: 'partlabel',
  ID: 'id',
};

/** Quotes around a tag's value are dropped, the only ones that crypttab knows. */
function devicePath(field: string): string {
  const [, tag = '', value = ''] = /^([A-Z]+)=(.*)$/s.exec(field) ?? [];
  const link = Object.hasOwn(links, tag) ? links[tag] : undefined;
  if (link === undefined) return field;
  const plain = /^(["'])(.*)\1$/s.exec(value)?.[2] ?? value;
  return `/dev/disk/by-${link}/${escapeForUdev(plain)}`;
}

/** udev's names of links: ASCII letters, digits and `#+-.:=@_` stand for themselves, other ASCII is `\x20`. */
function escapeForUdev(text: string): string {
  return text.replaceAll(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII is meant
    /[\u0000-\u007f]/g,
    (char) =>
      /[A-Za-z0-9#+\-.:=@_]/.test(char) ? char : `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/** `PATH` or `PATH:DEVICE`; what follows the colon is a device only when it is an absolute path or a tag. */
function location(text: string): { path: string; onDevice: string | null } {
  const colon = text.lastIndexOf(':');
  const device = devicePath(text.slice(colon + 1));
  if (colon === -1 || !device.startsWith('/')) return { path: text, onDevice: null };
  return { path: text.slice(0, colon), onDevice: device };
}

/**
 * A volume's line in the file.
 * @returns null when there is no such file or no such line
 * @throws AppError `bad-config` (unreadable, too long)
 */
export async function findInCrypttab(
  files: Files,
  path: string,
  volume: string,
): Promise<CrypttabEntry | null> {
  const text = await files.read(path, limits.configBytes);
  if (text === null) return null;
  return parseCrypttab(text.toString()).entries.find((entry) => entry.volume === volume) ?? null;
}

/** @returns where the header can be read from here; null for one on a device that systemd mounts, and a relative path */
export function readableHeader({ header, device }: CrypttabEntry): string | null {
  const path = header?.path ?? device;
  return header?.onDevice == null && path.startsWith('/') ? path : null;
}

/**
 * The file or device that holds a volume's LUKS header.
 * @param crypttab the file's path, for messages
 * @throws AppError `bad-config`
 */
export function headerPath(entry: CrypttabEntry, crypttab: string): string {
  const readable = readableHeader(entry);
  if (readable !== null) return readable;
  const path = entry.header?.path ?? entry.device;
  const where = `${crypttab}:${entry.line}: ${entry.header === null ? 'device' : 'header='}`;
  if (entry.header !== null && entry.header.onDevice !== null) {
    throw new AppError(
      'bad-config',
      `${where}: a header on ${entry.header.onDevice} cannot be read from here`,
      {
        hint: 'copy the header to a file, and name that in header=',
      },
    );
  }
  throw new AppError(
    'bad-config',
    `${where}: expected an absolute path or a tag such as UUID=, got ${JSON.stringify(path)}`,
  );
}
