import { AppError, type ErrorCode } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Runner } from '../base/ports.ts';
import { printable } from '../base/printable.ts';
import { Secret } from '../base/secret.ts';

const SYSTEMD_CREDS = '/usr/bin/systemd-creds';

/** systemd-creds(1), `--with-key=`. */
export const credentialKeys = ['host', 'tpm2', 'host+tpm2', 'auto'] as const;
export type CredentialKey = (typeof credentialKeys)[number];

export interface CredentialOptions {
  /** Bound into the credential: one of another name does not open. */
  readonly name: string;
  readonly key: CredentialKey;
  /** To which PCRs, `7` or `7+11`; `''` = to none; null = systemd's default. */
  readonly pcrs: string | null;
  /** systemd.time(7); null = never. */
  readonly notAfter: string | null;
}

/** systemd's encrypted credentials. */
export interface Credentials {
  /**
   * @returns the credential, base64 in lines
   * @throws AppError `bad-config` (what systemd-creds does not take), `unavailable` (no TPM), `tool-missing`, `stopped`
   */
  encrypt(secret: Secret, options: CredentialOptions, signal: AbortSignal): Promise<Buffer>;
  /**
   * @throws AppError `refused` (another name, past its time), `pcr-mismatch`, `foreign-tpm` (another TPM's or host's),
   *   `damaged`, `unavailable` (no TPM now), `tool-missing`, `stopped`
   */
  decrypt(credential: Uint8Array, name: string, signal: AbortSignal): Promise<Secret>;
}

/** In systemd's words, which are the same from 252 to 262. All else may be over by the next try. */
const REASONS: readonly (readonly [RegExp, ErrorCode])[] = [
  [/does not match (file)?name|time passed|not valid yet/i, 'refused'],
  [/policy digest|policy check failed/i, 'pcr-mismatch'],
  [/incorrect key|[Ii]ntegrity check|Failed to load HMAC key|bad (auth|integrity)/, 'foreign-tpm'],
  [/too short|corrupted data|Failed to read encrypted credential|Unknown encryption format/i, 'damaged'],
];

const BAD_OPTION = /Failed to parse|invalidated before|too long for credential|Invalid credential name/;

/** @param runner the secret itself goes by pipes alone */
export function credentialsBySystemd(runner: Runner): Credentials {
  const run = (args: readonly string[], stdin: Uint8Array, signal: AbortSignal) =>
    runner.run(SYSTEMD_CREDS, [...args, '-', '-'], {
      stdin,
      timeoutMs: limits.tpmToolTimeoutMs,
      maxOutputBytes: limits.sealedKeyBytes,
      signal,
    });
  return {
    async encrypt(secret, { name, key, pcrs, notAfter }, signal) {
      const args = ['encrypt', `--name=${name}`, `--with-key=${key}`];
      if (pcrs !== null) args.push(`--tpm2-pcrs=${pcrs}`);
      if (notAfter !== null) args.push(`--not-after=${notAfter}`);
      const { status, stdout, stderr } = await run(args, secret.reveal(), signal);
      if (status === 0) return stdout;
      const line = lastLine(stderr);
      throw new AppError(BAD_OPTION.test(line) ? 'bad-config' : 'unavailable', `systemd-creds: ${line}`);
    },
    async decrypt(credential, name, signal) {
      const args = ['decrypt', `--name=${name}`, '--newline=no'];
      const { status, stdout, stderr } = await run(args, credential, signal);
      if (status === 0) return Secret.takeFrom(stdout);
      const line = lastLine(stderr);
      const [, code = 'unavailable'] = REASONS.find(([words]) => words.test(stderr)) ?? [];
      throw new AppError(code, `systemd-creds: ${line}`);
    },
  };
}

function lastLine(stderr: string): string {
  return printable(stderr.trim().split('\n').at(-1) ?? '').replace(/\.$/, '');
}
