import { AppError, asAppError, type ErrorCode } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { type VolumeName, volumeName } from '../base/names.ts';
import type { Files } from '../base/ports.ts';
import { checkAllowed } from '../config/allow.ts';
import { type Config, emptyConfig, settingsFor, type UrlSettings } from '../config/config.ts';
import { type CrypttabEntry, headerPath, parseCrypttab } from '../luks/crypttab.ts';
import { readLuksHeader } from '../luks/header.ts';
import { clevisTokens } from '../luks/tokens.ts';
import { parseSealedKey } from '../pins/table.ts';

export interface Finding {
  /** An error keeps something from working; a warning may, or could not be looked at from here. */
  readonly level: 'error' | 'warning';
  readonly code: ErrorCode;
  /** A file, with its line where it has one; a device and its token. */
  readonly where: string;
  readonly message: string;
  readonly hint: string | null;
}

/** Where our sockets are: a key file of crypttab in it is ours. */
const SOCKETS = '/run/fetch-luks-key/';
const WORLD_WRITABLE = 0o002;
const WORLD_ACCESSIBLE = 0o007;

/**
 * Everything that is wrong in config.yaml, the sealed keys and the lines of crypttab that name one of our sockets.
 * Nothing is opened, and no server is asked.
 */
export async function check(files: Files, etc: string, crypttab: string): Promise<Finding[]> {
  const checker = new Checker(files);
  const config = await checker.config(`${etc}/config.yaml`);
  const sealed = await checker.sealedKeys(`${etc}/volumes`, config);
  await checker.crypttab(crypttab, config, sealed);
  return checker.findings;
}

class Checker {
  readonly findings: Finding[] = [];
  readonly #files: Files;

  constructor(files: Files) {
    this.#files = files;
  }

  /** @returns null when it is wrong, so that nothing can be said of what depends on it */
  async config(path: string): Promise<Config | null> {
    const bytes = await this.#attempt(path, () => this.#files.read(path, limits.configBytes));
    if (bytes === undefined) return null;
    if (bytes === null) return emptyConfig;
    await this.#mode(path, WORLD_WRITABLE, 'writable');
    const { readConfig } = await import('../config/parse.ts');
    const { config, problems } = readConfig(bytes.toString());
    for (const { line, message } of problems) this.#error('bad-config', `${path}:${line}`, message);
    for (const { url } of config?.volumes.values() ?? []) {
      if (url !== null) await this.#filesOf(url, path);
    }
    return config;
  }

  async #filesOf({ ca, client }: UrlSettings, config: string): Promise<void> {
    for (const path of [ca, client?.certificate, client?.key]) {
      if (typeof path !== 'string') continue;
      const bytes = await this.#attempt(path, () => this.#files.read(path, limits.configBytes));
      if (bytes === null) this.#error('bad-config', path, `no such file, and ${config} names it`);
      else if (path === client?.key) await this.#mode(path, WORLD_ACCESSIBLE, 'accessible');
      bytes?.fill(0);
    }
  }

  /** @returns the volumes that have a sealed key, wrong or right */
  async sealedKeys(folder: string, config: Config | null): Promise<ReadonlySet<string>> {
    const volumes = new Set<string>();
    for (const name of (await this.#attempt(folder, () => this.#files.list(folder))) ?? []) {
      const path = `${folder}/${name}`;
      if (!name.endsWith('.jwe')) {
        this.#warning('bad-config', path, 'expected a name that ends in .jwe, so this is not read');
        continue;
      }
      const volume = this.#volumeName(name.slice(0, -'.jwe'.length), path);
      if (volume === null) continue;
      volumes.add(volume);
      await this.#mode(path, WORLD_WRITABLE, 'writable');
      const bytes = await this.#attempt(path, () => this.#files.read(path, limits.sealedKeyBytes));
      if (bytes) this.#sealedKey(bytes.toString('latin1'), path, volume, config);
    }
    return volumes;
  }

  #sealedKey(text: string, where: string, volume: VolumeName, config: Config | null): void {
    try {
      const sealed = parseSealedKey(text);
      if (config !== null) checkAllowed(sealed, settingsFor(config, volume), where);
    } catch (thrown) {
      this.#thrown(thrown, where);
    }
  }

  async crypttab(path: string, config: Config | null, sealed: ReadonlySet<string>): Promise<void> {
    const bytes = await this.#attempt(path, () => this.#files.read(path, limits.configBytes));
    if (!bytes) return;
    await this.#mode(path, WORLD_WRITABLE, 'writable');
    const { entries, problems } = parseCrypttab(bytes.toString());
    for (const { line, message } of problems) this.#error('bad-config', `${path}:${line}`, message);
    for (const entry of entries) {
      if (entry.keyFile?.startsWith(SOCKETS)) await this.#entry(entry, path, config, sealed);
    }
  }

  async #entry(
    entry: CrypttabEntry,
    crypttab: string,
    config: Config | null,
    sealed: ReadonlySet<string>,
  ): Promise<void> {
    const where = `${crypttab}:${entry.line}`;
    const offset = entry.options.find((option) => option.startsWith('keyfile-offset='));
    if (offset !== undefined) {
      this.#error('bad-config', where, `expected no keyfile-offset= beside a socket, got ${offset}`);
    }
    const volume = this.#volumeName(entry.volume, where);
    if (volume === null) return;
    // The first that is there wins, as in handler/locate.ts; what a wrong config.yaml says is not known.
    const elsewhere = sealed.has(volume) || config === null || settingsFor(config, volume).url !== null;
    const tokens = await this.#tokens(entry, crypttab, elsewhere);
    if (elsewhere) return;
    for (const { device, id, jwe } of tokens ?? []) {
      this.#sealedKey(jwe, `${device} token ${id}`, volume, config);
    }
    if (tokens?.length === 0) {
      this.#error(
        'unknown-volume',
        where,
        `${volume}: expected a sealed key, a url in config.yaml or a clevis token, got none`,
        `fetch-luks-key seal tpm2 '{}' < KEYFILE > /etc/fetch-luks-key/volumes/${volume}.jwe`,
      );
    }
  }

  /**
   * @param elsewhere the key comes from elsewhere, so that the header is looked at for its ciphers alone
   * @returns null when it could not be read: then there is a finding
   */
  async #tokens(entry: CrypttabEntry, crypttab: string, elsewhere: boolean) {
    const where = `${crypttab}:${entry.line}`;
    try {
      const device = headerPath(entry, crypttab);
      const header = await readLuksHeader(this.#files, device);
      if (header !== null) return clevisTokens(header).map((token) => ({ device, ...token }));
      this.#warning('damaged', where, `expected a LUKS header in ${device}, got none`);
      return [];
    } catch (thrown) {
      const { code, message, hint } = asAppError(thrown);
      if (code === 'unavailable' || (code === 'bad-config' && elsewhere))
        this.#warning(code, where, message, hint);
      else this.#thrown(thrown, where);
      return null;
    }
  }

  #volumeName(name: string, where: string): VolumeName | null {
    try {
      return volumeName(name);
    } catch (thrown) {
      this.#error('bad-config', where, asAppError(thrown).message);
      return null;
    }
  }

  async #mode(path: string, forbidden: number, what: 'writable' | 'accessible'): Promise<void> {
    const mode = await this.#attempt(path, () => this.#files.mode(path));
    if (typeof mode !== 'number' || (mode & forbidden) === 0) return;
    const right = what === 'accessible' ? '600' : 'o-w';
    const octal = `0${mode.toString(8)}`;
    this.#error(
      'bad-config',
      path,
      `expected not to be ${what} by everybody, got mode ${octal}`,
      `chmod ${right} ${path}`,
    );
  }

  /** @returns undefined when it threw: then there is a finding */
  async #attempt<T>(where: string, what: () => Promise<T>): Promise<T | undefined> {
    try {
      return await what();
    } catch (thrown) {
      this.#thrown(thrown, where);
      return undefined;
    }
  }

  #thrown(thrown: unknown, where: string): void {
    if (!(thrown instanceof AppError)) throw thrown;
    this.#error(thrown.code, where, thrown.message, thrown.hint);
  }

  #error(code: ErrorCode, where: string, message: string, hint?: string): void {
    this.#add('error', code, where, message, hint);
  }

  #warning(code: ErrorCode, where: string, message: string, hint?: string): void {
    this.#add('warning', code, where, message, hint);
  }

  #add(
    level: Finding['level'],
    code: ErrorCode,
    where: string,
    message: string,
    hint: string | undefined,
  ): void {
    const rest = message.startsWith(`${where}: `) ? message.slice(where.length + 2) : message;
    this.findings.push({ level, code, where, message: rest, hint: hint ?? null });
  }
}
