import type { AppError } from '../base/errors.ts';
import type { AskPin, Files, Http, Random } from '../base/ports.ts';
import type { Secret } from '../base/secret.ts';
import type { Credentials } from '../creds/credentials.ts';
import type { Jwe } from '../jwe/compact.ts';
import type { Parsec } from '../parsec/parsec.ts';
import type { Tpm } from '../tpm/tpm.ts';

export const pinNames = ['tpm2', 'tang', 'remote', 'systemd-creds', 'parsec', 'sss'] as const;
export type PinName = (typeof pinNames)[number];

/** One pin of a sealed key, for config.yaml's `allow` and for people. */
export interface PinUse {
  readonly pin: PinName;
  /** It asks a person for a PIN. */
  readonly withPin?: boolean;
  /** The Tang server that it asks. */
  readonly url?: string;
  /** The key server that it asks, by SHA-256 of its key's SubjectPublicKeyInfo, and for which of its keys. */
  readonly server?: Buffer;
  readonly kid?: string;
}

/** A key server that this machine has joined (docs/PROTOCOL.md), who it is proven by its key. */
export interface KeyServer {
  readonly name: string;
  /** SHA-256 of its key's SubjectPublicKeyInfo, when it was joined. */
  readonly pinSha256: Buffer;
  /** That, and those of the keys that it had before or has now: sealed keys name it by any of them. */
  readonly names: readonly Buffer[];
  /**
   * Makes an exchange key. @param alive SHA-256 of the alive proof, base64url
   * @returns its id and its public JWK, unchecked
   * @throws AppError `unavailable`, `refused`, `waiting`, `stopped`
   */
  createKey(
    crv: 'P-256' | 'P-521',
    alive: string,
    signal: AbortSignal,
  ): Promise<{ kid: string; key: unknown }>;
  /**
   * The exchange. @param blinded a point as JWK
   * @returns the answered point as JWK, unchecked
   * @throws AppError `unavailable`, `refused`, `waiting` (an operator may act), `stopped`
   */
  recover(kid: string, blinded: object, signal: AbortSignal): Promise<unknown>;
  /** What was sealed to this key does not open any more. @throws AppError `unavailable`, `refused`, `waiting`, `stopped` */
  deleteKey(kid: string, signal: AbortSignal): Promise<void>;
}

/** The key servers that config.yaml names. */
export interface KeyServers {
  byName(name: string): KeyServer | null;
  byPin(pinSha256: Uint8Array): KeyServer | null;
}

/** What opening may use. */
export interface OpenContext {
  readonly tpm: Tpm;
  readonly http: Http;
  readonly random: Random;
  readonly servers: KeyServers;
  readonly credentials: Credentials;
  readonly parsec: Parsec;
  readonly askPin: AskPin;
  /**
   * Runs `once`, and runs it again after a pause while it throws `unavailable` or `waiting`, until the caller's
   * patience ends.
   * @param title names the pin in the error: `tang http://…`
   * @param startsNow the patience is counted from now on, not from the request: a person may have taken all of it
   */
  attempt<T>(
    title: string,
    signal: AbortSignal,
    once: (signal: AbortSignal) => Promise<T>,
    startsNow?: boolean,
  ): Promise<T>;
  /** Takes what still has to end (a session's flush) when nobody waits for its result any more. */
  afterwards(leftover: Promise<unknown>): void;
}

/** What sealing may use. */
export interface SealContext {
  readonly tpm: Tpm;
  readonly http: Http;
  readonly random: Random;
  readonly files: Files;
  readonly servers: KeyServers;
  readonly credentials: Credentials;
  readonly parsec: Parsec;
  /** The secret that is sealed in the end, of which a nested pin gets a share. */
  readonly whole: Secret;
  readonly signal: AbortSignal;
  /** A PIN to seal with, as a person has chosen it. @param salt of the object @throws AppError `refused`, `usage`, `stopped` */
  newPin(salt: Buffer): Promise<Secret>;
  /**
   * Shows `lines` and asks the person at the terminal.
   * @throws AppError `refused` when there is no terminal, or the answer is no
   */
  confirm(lines: readonly string[], question: string, hint: string): Promise<void>;
  /** Seals with another pin: the way `sss` seals its shares. */
  seal(pin: string, config: unknown, secret: Secret): Promise<string>;
}

/** A sealed key whose header was read and found well-formed: hostile still, until its content authenticates. */
export interface SealedKey {
  readonly pin: PinName;
  /** For people: `tpm2`, `tang http://…`, `2 of {tpm2, tang http://…}`. */
  readonly title: string;
  /** This pin and those nested in it. */
  readonly uses: readonly PinUse[];
  /** What is wrong with those nested in it that it can do without. */
  readonly broken?: readonly AppError[];
  /**
   * @throws AppError `refused`, `pcr-mismatch`, `unavailable` (patience ended), `damaged`, `foreign-tpm`,
   *   `tool-missing`, `stopped`
   */
  open(context: OpenContext, signal: AbortSignal): Promise<Secret>;
}

export interface Pin {
  readonly name: PinName;
  /**
   * @param nested reads a sealed key inside this one, within the limits of the whole; what is wrong with a broken one,
   *   as the others may do without it
   * @returns null when the header names another pin
   * @throws AppError `damaged` when it names this pin and is broken
   */
  parse(jwe: Jwe, nested: (text: string) => SealedKey | AppError): SealedKey | null;
  /**
   * @param config Clevis' configuration of the pin, parsed JSON
   * @returns the JWE in compact serialization
   * @throws AppError `bad-config`, `unavailable`, `refused`, `tool-missing`, `foreign-tpm`
   */
  seal(config: unknown, secret: Secret, context: SealContext): Promise<string>;
}
