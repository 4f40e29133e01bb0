import { createHash } from 'node:crypto';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Runner, RunResult } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';

export const JOURNALCTL = '/usr/bin/journalctl';

/** A seed, and time of the first epoch and length of each in µs and hexadecimal. */
const KEY = /^(?:[0-9a-f]{6}-){3}[0-9a-f]{6}\/[0-9a-f]+-[0-9a-f]+$/;
/** 96 bits: as many as the seed has. */
const ID_DIGITS = 24;

/**
 * What names a verification key and tells nothing of it: the beginning of its SHA-256.
 * @throws AppError `damaged` when it is none
 */
export function keyIdOf(key: Secret): string {
  if (!KEY.test(key.reveal().toString('latin1'))) {
    throw new AppError('damaged', 'expected a verification key of journald, got another secret');
  }
  return createHash('sha256').update(key.reveal()).digest('hex').slice(0, ID_DIGITS);
}

/**
 * Has journalctl make a pair of keys (journalctl(1), `--setup-keys`): it writes the sealing key, which changes with
 * each interval so that nobody can go back, and prints the verification key, of which no other copy exists.
 * @param intervalMs what was written in the running interval can still be changed
 * @returns the verification key
 * @throws AppError `tool-missing` when journald cannot seal, `unavailable`, `stopped`
 */
export async function makeKeys(intervalMs: number, runner: Runner, signal: AbortSignal): Promise<Secret> {
  const { status, stdout, stderr } = await runner.run(
    JOURNALCTL,
    ['--setup-keys', `--interval=${intervalMs}ms`],
    { timeoutMs: limits.journalKeysMs, maxOutputBytes: limits.childOutputBytes, signal },
  );
  using output = Secret.takeFrom(stdout);
  if (status !== 0) throw notMade(stderr);
  const key = Secret.takeFrom(Buffer.from(output.reveal().toString('latin1').trim()));
  if (KEY.test(key.reveal().toString('latin1'))) return key;
  throw new AppError('unavailable', `${JOURNALCTL}: expected a verification key on its standard output`);
}

function notMade(stderr: string): AppError {
  const reason = lastLine(stderr);
  if (/not available|not supported|libgcrypt|compiled without/i.test(reason)) {
    return new AppError('tool-missing', `journald cannot seal: ${reason}`, {
      hint: 'apt install libgcrypt20, and systemctl restart systemd-journald',
    });
  }
  return new AppError('unavailable', `${JOURNALCTL}: ${reason}`);
}

/**
 * Has journald begin new files, which it seals (`journalctl --rotate`); returns once it has.
 * @throws AppError `unavailable`, `stopped`
 */
export async function rotate(runner: Runner, signal: AbortSignal): Promise<void> {
  const options = { timeoutMs: limits.journalKeysMs, maxOutputBytes: limits.childOutputBytes, signal };
  const { status, stderr }: RunResult = await runner.run(JOURNALCTL, ['--rotate'], options);
  if (status !== 0) throw new AppError('unavailable', `${JOURNALCTL}: ${lastLine(stderr)}`);
}

export function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.trim().replace(/\.$/, '') ?? '';
}
