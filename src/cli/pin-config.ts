import { AppError } from '../base/errors.ts';
import { shown } from '../jwe/compact.ts';

/** A pin's configuration on the command line. @throws AppError `bad-config` */
export function parsePinConfig(command: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AppError('bad-config', `${command}: CONFIG: expected JSON, got ${shown(text)} (${reason})`, {
      cause,
      hint: "quote it for the shell: fetch-luks-key seal tpm2 '{}'",
    });
  }
}
