/**
 * The one error class. A code belongs to exactly one exit status, so what a person, a script and the journal
 * are told can never disagree.
 */

/** Every reason for failing, with the exit status of the process that fails for it. */
export const exitStatusOf = {
  /** A defect in this program. */
  bug: 1,
  /** Wrong command line. */
  usage: 2,
  /** The peer's socket name asks for nothing that can be served. */
  'bad-request': 2,
  /** config.yaml, crypttab or a pin's configuration is wrong. */
  'bad-config': 3,
  /** Nothing says how this volume's key is opened. */
  'unknown-volume': 3,
  /** A program that a pin needs is not installed. */
  'tool-missing': 3,
  /** Somebody or something that may do so said no. */
  refused: 4,
  /** A server that may do so said no for now: an operator can allow it. Worth another try. */
  waiting: 4,
  /** The machine did not boot what the key was sealed to. */
  'pcr-mismatch': 4,
  /** What the sealed key's header asks for is outside what config.yaml allows. */
  'not-allowed': 4,
  /** Not now: the network, a server, the TPM. Worth another try. */
  unavailable: 5,
  /** The client went away, or the process was told to stop. */
  stopped: 5,
  /** A sealed key, share, token or header is not what it was when it was made. */
  damaged: 6,
  /** Sealed by another TPM, or the TPM's storage key is not the one that the sealed key names. */
  'foreign-tpm': 6,
} as const satisfies Record<string, 1 | 2 | 3 | 4 | 5 | 6>;

export type ErrorCode = keyof typeof exitStatusOf;

export interface ErrorDetails {
  /** What the reader can do about it: one clause, lower case, no full stop. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

export class AppError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  /** @param message one clause, lower case, no full stop; names what, where, expected and got */
  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'AppError';
    this.code = code;
    this.hint = details.hint;
  }

  get exitStatus(): number {
    return exitStatusOf[this.code];
  }

  /** The same error, its message led by where it happened unless it says so already. */
  at(where: string): AppError {
    if (this.message.includes(where)) return this;
    return new AppError(this.code, `${where}: ${this.message}`, { hint: this.hint, cause: this });
  }
}

/** Anything thrown, as an AppError: what is not one already is a defect of ours. */
export function asAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new AppError('bug', message, { cause: thrown, hint: 'this is a defect, please report it' });
}

/** `message (hint: …)`, the form of every failure line. */
export function failureLine(error: AppError): string {
  return error.hint === undefined ? error.message : `${error.message} (hint: ${error.hint})`;
}
