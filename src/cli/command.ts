import { type ParseArgsConfig, parseArgs } from 'node:util';
import { AppError } from '../base/errors.ts';
import type { Places } from '../handler/locate.ts';
import type { World } from './world.ts';

export interface Command {
  readonly name: string;
  /** One line of the overview. */
  readonly summary: string;
  /** What `--help` prints: usage, options with units and defaults, a real example. */
  readonly help: string;
  /** @returns the exit status */
  run(args: readonly string[], world: World): Promise<number>;
}

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<T extends Options> = ReturnType<
  typeof parseArgs<{ options: T; allowPositionals: true; strict: true; args: string[] }>
>;

/**
 * The arguments of a command with exactly `names.length` positionals.
 * @throws AppError `usage`
 */
export function parseCommandLine<const T extends Options>(
  command: string,
  args: readonly string[],
  options: T,
  names: readonly string[] = [],
): { values: Parsed<T>['values']; positionals: string[] } {
  const hint = `fetch-luks-key ${command} --help`;
  let parsed: Parsed<T>;
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (cause) {
    const [reason] = cause instanceof Error ? cause.message.split('. ') : [String(cause)];
    throw new AppError('usage', `${command}: ${(reason ?? '').replace(/^[A-Z]/, (c) => c.toLowerCase())}`, {
      hint,
      cause,
    });
  }
  if (parsed.positionals.length !== names.length) {
    const expected = names.length === 0 ? 'no arguments' : names.join(' and ');
    throw new AppError(
      'usage',
      `${command}: expected ${expected}, got ${parsed.positionals.length} arguments`,
      { hint },
    );
  }
  return { values: parsed.values, positionals: parsed.positionals };
}

/** `--output -` is the way to ask for a secret on a terminal, and the only one. */
export function mayPrintSecret(world: World, output: string | undefined, command: string): void {
  if (output !== undefined && output !== '-') {
    throw new AppError('usage', `${command}: --output: expected -, got ${output}`, {
      hint: 'a secret is never written to a file here; redirect standard output to one on a tmpfs',
    });
  }
  if (world.standardOutputIsTerminal && output === undefined) {
    throw new AppError('usage', `${command}: standard output is a terminal, and this is a secret`, {
      hint: 'pipe it into the program that needs it, or say --output -',
    });
  }
}

/** Where configuration is read: the options that `handle` and `check` share. */
export const placeOptions = {
  etc: { type: 'string', default: '/etc/fetch-luks-key' },
  crypttab: { type: 'string', default: '/etc/crypttab' },
} as const;

export function placesFrom(values: { readonly etc: string; readonly crypttab: string }): Places {
  return { etc: values.etc, crypttab: values.crypttab };
}
