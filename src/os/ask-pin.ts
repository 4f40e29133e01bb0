import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { PinAsker, Runner } from '../base/ports.ts';
import { printable } from '../base/printable.ts';
import { Secret } from '../base/secret.ts';
import { askPassphrase } from './terminal.ts';

const ASK_PASSWORD = '/usr/bin/systemd-ask-password';
const NEWLINE = 0x0a;

/** Asks at the terminal, and nobody where there is none: a command has a person there, or a file. */
export const pinAtTerminal: PinAsker = (subject) => async (attempt, signal) =>
  await askPassphrase(questionFor(subject, attempt), 'give --tpm2-pin-file FILE where there is one', signal);

/** Has systemd's password agents ask, as at boot. */
export function pinByAgents(runner: Runner): PinAsker {
  return (subject, giveUpAfterMs) => async (attempt, signal) =>
    await askAgents(questionFor(subject, attempt), subject, giveUpAfterMs, runner, signal);
}

function questionFor(subject: string, attempt: number): string {
  return `${attempt === 1 ? '' : 'Wrong PIN. '}TPM PIN for ${subject}:`;
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
  const { status, stdout, stderr } = await runner.run(
    ASK_PASSWORD,
    [...about, `--timeout=${seconds}`, question],
    {
      timeoutMs: giveUpAfterMs === 0 ? limits.longestTimerMs : giveUpAfterMs + limits.childKillGraceMs,
      maxOutputBytes: limits.childOutputBytes,
      signal,
    },
  );
  if (status !== 0) {
    // strerror(3) of ETIME.
    const nobody = /timer expired/i.test(stderr);
    const reason = printable(stderr.trim().split('\n').at(-1) ?? '').replace(/\.$/, '');
    throw new AppError(
      'unavailable',
      nobody
        ? `nobody has typed the PIN for ${subject} within ${seconds} s`
        : `the PIN for ${subject} cannot be asked for: systemd-ask-password: ${reason || `exit status ${status}`}`,
      { hint: nobody ? 'systemd-tty-ask-password-agent asks for it at a terminal' : undefined },
    );
  }
  const end = stdout.indexOf(NEWLINE);
  const pin = Secret.takeFrom(stdout.subarray(0, end < 0 ? stdout.length : end));
  stdout.fill(0);
  return pin;
}
