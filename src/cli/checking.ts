import { asAppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { type VolumeName, volumeName } from '../base/names.ts';
import type { Files } from '../base/ports.ts';
import { checkAllowed } from '../config/allow.ts';
import {
  type Config,
  emptyConfig,
  settingsFor,
  type UrlSettings,
  type VolumeSettings,
} from '../config/config.ts';
import { credentialAddress } from '../credentials/address.ts';
import { credentialsFolder, forms } from '../credentials/place.ts';
import { commitmentsFolder } from '../handler/committed.ts';
import { parseCommitments } from '../luks/commitment.ts';
import { type CrypttabEntry, headerPath, parseCrypttab } from '../luks/crypttab.ts';
import { readLuksHeader } from '../luks/header.ts';
import { clevisTokens } from '../luks/tokens.ts';
import { parseSealedKey } from '../pins/table.ts';
import { type Finding, Findings } from './findings.ts';

/** Where our sockets are: a key file of crypttab in it is ours. */
const SOCKETS = '/run/fetch-luks-key/';
const WORLD_WRITABLE = 0o002;
const WORLD_ACCESSIBLE = 0o007;

/**
 * Everything that is wrong in config.yaml, the sealed keys, the commitments and the lines of crypttab that name one of
 * our sockets.
 * Nothing is opened, and no server is asked.
 */
export async function check(files: Files, etc: string, crypttab: string): Promise<Finding[]> {
  const checker = new Checker(files);
  const config = await checker.config(`${etc}/config.yaml`);
  const sealed = await checker.sealedKeys(`${etc}/volumes`, config);
  for (const form of forms) await checker.credentials(credentialsFolder(etc, form));
  await checker.commitments(commitmentsFolder(etc));
  await checker.crypttab(crypttab, config, sealed);
  return checker.found.all;
}

class Checker {
  readonly found: Findings;
  readonly #files: Files;

  constructor(files: Files) {
    this.#files = files;
    this.found = new Findings(files);
  }

  /** @returns null when it is wrong, so that nothing can be said of what depends on it */
  async config(path: string): Promise<Config | null> {
    const bytes = await this.found.attempt(path, () => this.#files.read(path, limits.configBytes));
    if (bytes === undefined) return null;
    if (bytes === null) return emptyConfig;
    await this.found.mode(path, WORLD_WRITABLE, 'writable');
    const { readConfig } = await import('../config/parse.ts');
    const { config, problems } = readConfig(bytes.toString());
    for (const { line, message } of problems) this.found.error('bad-config', `${path}:${line}`, message);
    for (const { url } of config?.volumes.values() ?? []) {
      if (url !== null) await this.#filesOf(url, path);
    }
    return config;
  }

  async #filesOf({ ca, client }: UrlSettings, config: string): Promise<void> {
    for (const path of [ca, client?.certificate, client?.key]) {
      if (typeof path !== 'string') continue;
      const bytes = await this.found.attempt(path, () => this.#files.read(path, limits.configBytes));
      if (bytes === null) this.found.error('bad-config', path, `no such file, and ${config} names it`);
      else if (path === client?.key) await this.found.mode(path, WORLD_ACCESSIBLE, 'accessible');
      bytes?.fill(0);
    }
  }

  /** @returns the volumes that have a sealed key, wrong or right */
  async sealedKeys(folder: string, config: Config | null): Promise<ReadonlySet<string>> {
    const volumes = new Set<string>();
    for (const name of (await this.found.attempt(folder, () => this.#files.list(folder))) ?? []) {
      const path = `${folder}/${name}`;
      if (!name.endsWith('.jwe')) {
        this.found.warning('bad-config', path, 'expected a name that ends in .jwe, so this is not read');
        continue;
      }
      const volume = this.#volumeName(name.slice(0, -'.jwe'.length), path);
      if (volume === null) continue;
      volumes.add(volume);
      const text = await this.#textOf(path, limits.sealedKeyBytes);
      if (text !== null) this.#sealedKey(text, path, config === null ? null : settingsFor(config, volume));
    }
    return volumes;
  }

  /** Those of services. */
  async credentials(folder: string): Promise<void> {
    for (const unit of (await this.found.attempt(folder, () => this.#files.list(folder))) ?? []) {
      const ofUnit = `${folder}/${unit}`;
      const names = (await this.found.attempt(ofUnit, () => this.#files.list(ofUnit))) ?? [];
      for (const name of names) {
        const path = `${ofUnit}/${name}`;
        // How a secret was sealed.
        if (name.endsWith('.json') && names.includes(name.replace(/json$/, 'jwe'))) continue;
        if (!name.endsWith('.jwe')) {
          this.found.warning('bad-config', path, 'expected a name that ends in .jwe, so this is not read');
          continue;
        }
        await this.found.attempt(path, async () =>
          credentialAddress(`${unit}/${name.slice(0, -'.jwe'.length)}`),
        );
        const text = await this.#textOf(path, limits.sealedKeyBytes);
        if (text !== null) this.#sealedKey(text, path, null);
      }
    }
  }

  async commitments(folder: string): Promise<void> {
    for (const name of (await this.found.attempt(folder, () => this.#files.list(folder))) ?? []) {
      const path = `${folder}/${name}`;
      const text = await this.#textOf(path, limits.commitmentsBytes);
      if (text !== null) await this.found.attempt(path, async () => parseCommitments(text, path));
    }
  }

  /** @returns null when it cannot be read: then there is a finding */
  async #textOf(path: string, maxBytes: number): Promise<string | null> {
    await this.found.mode(path, WORLD_WRITABLE, 'writable');
    const bytes = await this.found.attempt(path, () => this.#files.read(path, maxBytes));
    return bytes?.toString('latin1') ?? null;
  }

  /** @param settings of its volume; null where there are none, or none that are known */
  #sealedKey(text: string, where: string, settings: VolumeSettings | null): void {
    try {
      const sealed = parseSealedKey(text);
      for (const { code, message, hint } of sealed.broken ?? []) {
        this.found.warning(code, where, `one of the nested ones cannot be used: ${message}`, hint);
      }
      if (settings !== null) checkAllowed(sealed, settings, where);
    } catch (thrown) {
      this.found.thrown(thrown, where);
    }
  }

  async crypttab(path: string, config: Config | null, sealed: ReadonlySet<string>): Promise<void> {
    const bytes = await this.found.attempt(path, () => this.#files.read(path, limits.configBytes));
    if (!bytes) return;
    await this.found.mode(path, WORLD_WRITABLE, 'writable');
    const { entries, problems } = parseCrypttab(bytes.toString());
    for (const { line, message } of problems) this.found.error('bad-config', `${path}:${line}`, message);
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
      this.found.error('bad-config', where, `expected no keyfile-offset= beside a socket, got ${offset}`);
    }
    const volume = this.#volumeName(entry.volume, where);
    if (volume === null) return;
    // The first that is there wins, as in handler/locate.ts; what a wrong config.yaml says is not known.
    const elsewhere = sealed.has(volume) || config === null || settingsFor(config, volume).url !== null;
    const tokens = await this.#tokens(entry, crypttab, elsewhere);
    if (elsewhere) return;
    for (const { device, id, jwe } of tokens ?? []) {
      this.#sealedKey(jwe, `${device} token ${id}`, config === null ? null : settingsFor(config, volume));
    }
    if (tokens?.length === 0) {
      this.found.error(
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
      this.found.warning('damaged', where, `expected a LUKS header in ${device}, got none`);
      return [];
    } catch (thrown) {
      const { code, message, hint } = asAppError(thrown);
      if (code === 'unavailable' || (code === 'bad-config' && elsewhere))
        this.found.warning(code, where, message, hint);
      else this.found.thrown(thrown, where);
      return null;
    }
  }

  #volumeName(name: string, where: string): VolumeName | null {
    try {
      return volumeName(name);
    } catch (thrown) {
      this.found.error('bad-config', where, asAppError(thrown).message);
      return null;
    }
  }
}
