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

export type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<T extends Options> = ReturnType<
  typeof parseArgs<{ options: T; allowPositionals: true; strict: true; args: string[] }>
>;

/**
 * The arguments of a command with as many positionals as `names`, of which those in brackets may be missing.
 * @throws AppError `usage`
 */
export function parseCommandLine<const T extends Options>(
  command: string,
  args: readonly string[],
  options: T,
  names: readonly string[] = [],
): { values: Parsed<T>['values']; positionals: string[] } {
  return parseArguments(`fetch-luks-key ${command}`, args, options, names);
}

/** The same for any program. @param line program and command */
export function parseArguments<const T extends Options>(
  line: string,
  args: readonly string[],
  options: T,
  names: readonly string[],
): { values: Parsed<T>['values']; positionals: string[] } {
  const command = line.split(' ').at(-1);
  // A key's thumbprint may begin with one.
  const dash = args.some((arg) => /^-[^-]./.test(arg))
    ? 'an argument that begins with - goes after --; '
    : '';
  const usage = (what: string, cause?: unknown) =>
    new AppError('usage', `${command}: ${what}`, { hint: `${dash}see ${line} --help`, cause });
  let parsed: Parsed<T>;
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    // Its first sentence; the others are advice for programmers.
    throw usage(
      (message.split(/\.\s/)[0] ?? '').replace(/^[A-Z]/, (first) => first.toLowerCase()),
      cause,
    );
  }
  const { values, positionals } = parsed;
  // Not what they are: one may be a secret that was meant for standard input.
  const got = positionals.length === 1 ? '1 argument' : `${positionals.length || 'no'} arguments`;
  const fewest = names.filter((name) => !name.startsWith('[')).length;
  if (positionals.length < fewest || positionals.length > names.length) {
    throw usage(`expected ${names.length === 0 ? 'no arguments' : names.join(' and ')}, got ${got}`);
  }
  return { values, positionals };
}

/** What `open` and `request` have in common: how the secret itself is asked for. */
export const outputOptions = { output: { type: 'string' }, json: { type: 'boolean' } } as const;

/** @throws AppError `usage` */
export function checkOutput(
  command: string,
  { output, json }: { readonly output?: string | undefined; readonly json?: boolean | undefined },
): void {
  if (output === undefined) return;
  if (output !== '-') {
    throw new AppError('usage', `${command}: --output: expected -, got ${output}`, {
      hint: 'a secret is never written to a file here; redirect standard output to one on a tmpfs',
    });
  }
  if (json) {
    throw new AppError('usage', `${command}: --json and --output exclude each other`, {
      hint: 'what --json prints has no secret in it',
    });
  }
}

/** Where configuration is read: the options that `handle` and `check` share. */
export const placeOptions = {
  etc: { type: 'string', default: '/etc/fetch-luks-key' },
  crypttab: { type: 'string', default: '/etc/crypttab' },
} as const;

/** Where `open` and `seal` find the key servers. */
export const etcOption = { etc: placeOptions.etc } as const;

/** Absolute, as records keep them, and other programs are given them. */
export function placesFrom(values: { readonly etc: string; readonly crypttab: string }): Places {
  return { etc: absolutePath(values.etc), crypttab: absolutePath(values.crypttab) };
}

/** @returns null when no path was given */
export function absolute(path: string | undefined): string | null {
  return path === undefined ? null : absolutePath(path);
}

export function absolutePath(path: string): string {
  return path.startsWith('/') ? path : `${process.cwd()}/${path}`;
}
