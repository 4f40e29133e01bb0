import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';

/** systemd.unit(5), table 1, the highest priority first; what generators made at the last reload is among them. */
export const UNIT_FOLDERS: readonly string[] = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/run/systemd/generator',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
  '/run/systemd/generator.late',
];

/** A unit as its file and its drop-ins say it (systemd.unit(5)). */
export interface UnitFile {
  /** Linked to /dev/null: it is never started. */
  readonly masked: boolean;
  /** All values of a setting that count, in order: an empty one takes back what was before it. */
  values(section: string, key: string): readonly string[];
}

/**
 * @param name of an instance of a template: `a@b.service`
 * @returns null when there is none
 * @throws AppError `bad-config`
 */
export async function readUnit(
  files: Files,
  folders: readonly string[],
  name: string,
): Promise<UnitFile | null> {
  const template = name.replace(/@.*(?=\.)/, '@');
  const type = name.slice(name.lastIndexOf('.') + 1);
  const fragment = (await firstOf(files, folders, name)) ?? (await firstOf(files, folders, template));
  if (fragment === null) return null;
  const texts = [fragment === MASKED ? '' : fragment];
  const dropIns = new Map<string, string>();
  for (const folder of folders.toReversed()) {
    for (const own of [`${type}.d`, `${template}.d`, `${name}.d`]) {
      for (const file of await files.list(`${folder}/${own}`)) {
        if (file.endsWith('.conf')) dropIns.set(file, `${folder}/${own}/${file}`);
      }
    }
  }
  // By their own names, wherever they are; of two with one name that of the folder with the higher priority counts.
  for (const [, path] of [...dropIns].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const text = await textOf(files, path);
    if (text !== null && text !== MASKED) texts.push(text);
  }
  const settings = settingsIn(texts);
  return {
    masked: fragment === MASKED,
    values: (section, key) => settings.get(`${section}/${key}`) ?? [],
  };
}

/** Units that some other pulls in: enabled, or pulled in by what generators made. @param folders all that count */
export async function isPulledIn(files: Files, folders: readonly string[], unit: string): Promise<boolean> {
  for (const folder of folders) {
    for (const name of await files.list(folder)) {
      if (!/\.(?:wants|requires|upholds)$/.test(name)) continue;
      if ((await files.list(`${folder}/${name}`)).includes(unit)) return true;
    }
  }
  return false;
}

const MASKED = Symbol('masked');

async function firstOf(files: Files, folders: readonly string[], name: string) {
  for (const folder of folders) {
    const text = await textOf(files, `${folder}/${name}`);
    if (text !== null) return text;
  }
  return null;
}

async function textOf(files: Files, path: string): Promise<string | typeof MASKED | null> {
  try {
    return (await files.read(path, limits.configBytes))?.toString() ?? null;
  } catch (thrown) {
    // /dev/null is no file.
    if (thrown instanceof AppError && thrown.message.endsWith('got a device')) return MASKED;
    throw thrown;
  }
}

/** systemd.syntax(7): sections, `KEY=VALUE`, a backslash at the end of a line, comments. */
function settingsIn(texts: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const settings = new Map<string, string[]>();
  for (const text of texts) {
    let section = '';
    for (const line of text
      .replaceAll(/^[#;].*\n/gm, '')
      .replaceAll(/\\\n/g, ' ')
      .split('\n')) {
      const [, head] = /^\s*\[(.*)\]\s*$/.exec(line) ?? [];
      const [, key, value = ''] = /^\s*([A-Za-z0-9]+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
      if (head !== undefined) section = head;
      else if (key !== undefined) {
        const place = `${section}/${key}`;
        settings.set(place, value === '' ? [] : [...(settings.get(place) ?? []), value]);
      }
    }
  }
  return settings;
}
