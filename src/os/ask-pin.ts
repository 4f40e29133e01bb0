import { isatty } from 'node:tty';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { PinAsker, Runner } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { askPassphrase } from './terminal.ts';

const ASK_PASSWORD = '/usr/bin/systemd-ask-password';
/** A person reads what is written there; a handler's goes to the journal. */
const STANDARD_ERROR = 2;
const NEWLINE = 0x0a;

/** Asks at the terminal; where there is none, as at boot, systemd's password agents do. */
export function pinAsker(runner: Runner): PinAsker {
  return (subject, giveUpAfterMs) => async (attempt, signal) => {
    const again = attempt === 1 ? '' : 'Wrong PIN. ';
    const question = `${again}TPM PIN for ${subject}:`;
    if (isatty(STANDARD_ERROR)) return await askPassphrase(question, '', signal);
    return await askAgents(question, subject, giveUpAfterMs, runner, signal);
  };
}

/** systemd-ask-password(1): Plymouth, the console, or `systemd-tty-ask-password-agent` on any terminal answers. */
async function askAgents(
  question: string,
  subject: string,
  giveUpAfterMs: number,
  runner: Runner,
  signal: AbortSignal,
): Promise<Secret> {
  const seconds = Math.ceil(giveUpAfterMs / 1000);
  const about = ['--no-tty', '--icon=drive-harddisk', `--id=fetch-luks-key:${subject}`];
  const { status, stdout } = await runner.run(ASK_PASSWORD, [...about, `--timeout=${seconds}`, question], {
    timeoutMs: giveUpAfterMs === 0 ? limits.longestTimerMs : giveUpAfterMs + limits.childKillGraceMs,
    maxOutputBytes: limits.childOutputBytes,
    signal,
  });
  if (status !== 0) {
    throw new AppError('unavailable', `nobody has typed the PIN for ${subject} within ${seconds} s`, {
      hint: 'systemd-tty-ask-password-agent asks for it at a terminal',
    });
  }
  const end = stdout.indexOf(NEWLINE);
  const pin = Secret.takeFrom(stdout.subarray(0, end < 0 ? stdout.length : end));
  stdout.fill(0);
  return pin;
}
