import { AppError, type ErrorCode } from '../base/errors.ts';
import type { Files } from '../base/ports.ts';

export interface Finding {
  /** An error keeps something from working; a warning may, or could not be looked at from here. */
  readonly level: 'error' | 'warning';
  readonly code: ErrorCode;
  /** A file, with its line where it has one; a device and its token. */
  readonly where: string;
  readonly message: string;
  readonly hint: string | null;
}

/** What a look at files has found so far. */
export class Findings {
  readonly all: Finding[] = [];
  readonly #files: Files;

  constructor(files: Files) {
    this.#files = files;
  }

  /** Finds fault with a file whose mode has a bit of `forbidden`. */
  async mode(path: string, forbidden: number, what: 'writable' | 'accessible'): Promise<void> {
    const mode = await this.attempt(path, () => this.#files.mode(path));
    if (typeof mode !== 'number' || (mode & forbidden) === 0) return;
    const right = what === 'accessible' ? '600' : 'o-w';
    const octal = `0${mode.toString(8)}`;
    this.error(
      'bad-config',
      path,
      `expected not to be ${what} by everybody, got mode ${octal}`,
      `chmod ${right} ${path}`,
    );
  }

  /** @returns undefined when it threw: then there is a finding */
  async attempt<T>(where: string, what: () => Promise<T>): Promise<T | undefined> {
    try {
      return await what();
    } catch (thrown) {
      this.thrown(thrown, where);
      return undefined;
    }
  }

  thrown(thrown: unknown, where: string): void {
    if (!(thrown instanceof AppError)) throw thrown;
    this.error(thrown.code, where, thrown.message, thrown.hint);
  }

  error(code: ErrorCode, where: string, message: string, hint?: string): void {
    this.#add('error', code, where, message, hint);
  }

  warning(code: ErrorCode, where: string, message: string, hint?: string): void {
    this.#add('warning', code, where, message, hint);
  }

  #add(
    level: Finding['level'],
    code: ErrorCode,
    where: string,
    message: string,
    hint: string | undefined,
  ): void {
    // Some messages say the place themselves, and the line.
    const after = message.startsWith(where) ? message.slice(where.length) : '';
    const [led = ': ', line = ''] = /^(:\d+)?: /.exec(after) ?? [];
    const rest = after.startsWith(led) ? after.slice(led.length) : message;
    this.all.push({ level, code, where: where + line, message: rest, hint: hint ?? null });
  }
}
