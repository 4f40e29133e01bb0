import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Argument, MemoryFiles, Runner, RunResult } from '../base/ports.ts';
import { printable } from '../base/printable.ts';
import type { Secret } from '../base/secret.ts';
import type { LuksHeader } from './header.ts';
import { isObject, type Metadata } from './metadata.ts';

const CRYPTSETUP = '/usr/sbin/cryptsetup';

/** cryptsetup's exit statuses (cryptsetup(8), RETURN CODES). */
const WRONG_PASSPHRASE = 2;

/**
 * For 512 random bits the slowest derivation protects no better than the fastest: nobody can try them all. So the least
 * that cryptsetup takes: opening costs 1 ms, and none of the GiB of memory that argon2 wants at boot. Never for a
 * passphrase.
 */
const DERIVATION = ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'] as const;

/**
 * A header that can hold our keyslot and our token.
 * @throws AppError `bad-config`
 */
export function luks2Of(header: LuksHeader | null, path: string): { uuid: string; metadata: Metadata } {
  if (header === null) throw notLuks(path);
  if (header.version === 2) return header;
  throw new AppError('bad-config', `${path}: expected LUKS2, got LUKS1, which has no tokens`, {
    hint: `back its header up (cryptsetup luksHeaderBackup), then, while it is closed: cryptsetup convert --type luks2 ${path}`,
  });
}

/** The lowest id that is free. @throws AppError `refused` when all are taken */
export function freeId(what: 'keyslot' | 'token', taken: readonly string[], path: string): string {
  const ids = Array.from({ length: limits.luksObjects }, (_, id) => String(id));
  const free = ids.find((id) => !taken.includes(id));
  if (free !== undefined) return free;
  throw new AppError('refused', `${path}: no free ${what}: all ${limits.luksObjects} are taken`, {
    hint: `cryptsetup luksDump ${path} lists them, and ${what === 'keyslot' ? 'luksKillSlot' : 'token remove'} frees one`,
  });
}

/** Keyslots and tokens of one device, image or header file, by cryptsetup(8). Keys go by memory files alone. */
export class Keyslots {
  readonly path: string;
  readonly #ports: { readonly runner: Runner; readonly memoryFiles: MemoryFiles };

  /** @param path absolute */
  constructor(path: string, ports: { readonly runner: Runner; readonly memoryFiles: MemoryFiles }) {
    this.path = path;
    this.#ports = ports;
  }

  /**
   * @param passphrase may be empty
   * @param keyslot an active one; any when absent
   * @throws AppError `bad-config` (not LUKS), `unavailable`, `tool-missing`, `stopped`
   */
  async opens(passphrase: Secret, signal: AbortSignal, keyslot?: string): Promise<boolean> {
    using file = this.#ports.memoryFiles.create(passphrase.reveal());
    const slot = keyslot === undefined ? [] : ['--key-slot', keyslot];
    // Else a token that systemd's plug-in or the kernel's keyring opens would stand in for a wrong passphrase.
    const args = [
      'open',
      '--test-passphrase',
      '--token-type',
      'none',
      ...slot,
      '--key-file',
      file,
      this.path,
    ];
    const result = await this.#run(args, signal);
    if (result.status === 0) return true;
    // A keyslot of lower priority, or none at all, is no fault of the passphrase's; nothing opens all the same.
    if (result.status === WRONG_PASSPHRASE || /No usable keyslot/.test(result.stderr)) return false;
    throw this.#failure('open', result);
  }

  /**
   * @param passphrase that opens another keyslot
   * @param key random: the keyslot is made for one that cannot be guessed
   * @throws AppError `refused` (wrong passphrase; no room), `bad-config`, `unavailable`, `tool-missing`, `stopped`
   */
  async add(keyslot: string, passphrase: Secret, key: Secret, signal: AbortSignal): Promise<void> {
    using old = this.#ports.memoryFiles.create(passphrase.reveal());
    using fresh = this.#ports.memoryFiles.create(key.reveal());
    const args = ['luksAddKey', ...DERIVATION, '--key-slot', keyslot, '--key-file', old, this.path, fresh];
    const result = await this.#run(args, signal);
    if (result.status === 0) return;
    if (result.status === WRONG_PASSPHRASE) throw wrongPassphrase(this.path);
    if (/All key slots full|No space for new keyslot/.test(result.stderr)) {
      throw new AppError('refused', `${this.path}: no free keyslot`, {
        hint: 'cryptsetup luksKillSlot frees one',
      });
    }
    throw this.#failure('luksAddKey', result);
  }

  /** Wipes a keyslot; nothing when there is none. @throws AppError `bad-config`, `unavailable`, `tool-missing`, `stopped` */
  async remove(keyslot: string, signal: AbortSignal): Promise<void> {
    const result = await this.#run(['luksKillSlot', '--batch-mode', this.path, keyslot], signal);
    if (result.status !== 0 && !/is not active|Keyslot \d+ is inactive/.test(result.stderr)) {
      throw this.#failure('luksKillSlot', result);
    }
  }

  /**
   * @param token LUKS2 on-disk format §3.6
   * @throws AppError `refused` (no room), `bad-config`, `unavailable`, `tool-missing`, `stopped`
   */
  async addToken(id: string, token: object, signal: AbortSignal): Promise<void> {
    const json = Buffer.from(JSON.stringify(token));
    const args = ['token', 'import', '--token-id', id, '--json-file', '-', this.path];
    const result = await this.#run(args, signal, json);
    if (result.status === 0) return;
    if (!/Failed to import token from file/.test(result.stderr)) throw this.#failure('token import', result);
    // It says no more, whatever the reason.
    const missing = await this.#missing(token, signal);
    if (missing !== undefined) {
      throw new AppError('refused', `${this.path}: no keyslot ${missing} for a token to name`);
    }
    throw new AppError('refused', `${this.path}: no room for a token of ${json.length} bytes`, {
      hint: 'its LUKS header is too small for it: keep the sealed key in a file with --file',
    });
  }

  /** The first keyslot that the token names and the header does not have. */
  async #missing(token: object, signal: AbortSignal): Promise<string | undefined> {
    const { status, stdout } = await this.#run(['luksDump', '--dump-json-metadata', this.path], signal);
    const json: unknown = status === 0 ? JSON.parse(stdout.toString()) : null;
    const has = isObject(json) && isObject(json.keyslots) ? json.keyslots : {};
    const named = 'keyslots' in token && Array.isArray(token.keyslots) ? token.keyslots.map(String) : [];
    return status === 0 ? named.find((id) => !Object.hasOwn(has, id)) : undefined;
  }

  /** Nothing when there is none. @throws AppError `bad-config`, `unavailable`, `tool-missing`, `stopped` */
  async removeToken(id: string, signal: AbortSignal): Promise<void> {
    const result = await this.#run(['token', 'remove', '--token-id', id, this.path], signal);
    if (result.status !== 0 && !/is not in use/.test(result.stderr))
      throw this.#failure('token remove', result);
  }

  async #run(args: readonly Argument[], signal: AbortSignal, stdin?: Uint8Array): Promise<RunResult> {
    try {
      return await this.#ports.runner.run(CRYPTSETUP, args, {
        timeoutMs: limits.cryptsetupTimeoutMs,
        abortGraceMs: limits.cryptsetupAbortGraceMs,
        maxOutputBytes: limits.childOutputBytes,
        signal,
        ...(stdin === undefined ? {} : { stdin }),
      });
    } catch (thrown) {
      if (!(thrown instanceof AppError) || thrown.code !== 'tool-missing') throw thrown;
      const hint = 'install the package cryptsetup-bin';
      throw new AppError(thrown.code, thrown.message, { cause: thrown, hint });
    }
  }

  /** cryptsetup prints no key, and no word of one. */
  #failure(verb: string, { status, stderr }: RunResult): AppError {
    if (/not a valid LUKS device/.test(stderr)) return notLuks(this.path);
    // The path is said once, in front: a long one would push the reason out of the line.
    const last = stderr.trim().split('\n').at(-1)?.replaceAll(`Device ${this.path} `, 'device ') ?? '';
    const reason = printable(last).replace(/\.$/, '');
    const what = `${this.path}: cryptsetup ${verb}: ${reason === '' ? `exit status ${status}` : reason}`;
    // Of a file on a read-only file system it says this, and no more.
    const unwritable = /IO error while encrypting keyslot|Cannot write to device|read-only/i.test(stderr);
    return new AppError(
      'unavailable',
      unwritable ? `${this.path}: cannot be written, is it read-only?` : what,
    );
  }
}

export function wrongPassphrase(path: string): AppError {
  return new AppError('refused', `${path}: this passphrase opens no keyslot`, {
    hint: 'all of a key file counts, a newline at its end too',
  });
}

function notLuks(path: string): AppError {
  return new AppError('bad-config', `${path}: this is not LUKS`);
}
