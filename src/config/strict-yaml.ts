import { type Document, LineCounter, parseDocument } from 'yaml';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { syntaxProblem } from './document.ts';
import { type ConfigProblem, Reader } from './reader.ts';

export type ConfigReading<T> =
  | { readonly config: T; readonly problems: readonly [] }
  | { readonly config: null; readonly problems: readonly ConfigProblem[] };

/**
 * A YAML file with all that is wrong in it, in the order of its lines.
 * @param read notes what is wrong; its value counts only where nothing is
 */
export function readStrictly<T>(
  text: string,
  read: (content: unknown, reader: Reader) => T,
): ConfigReading<T> {
  const lines = new LineCounter();
  let doc: Document.Parsed;
  let content: unknown;
  try {
    doc = parseDocument(text, {
      lineCounter: lines,
      uniqueKeys: true,
      stringKeys: true,
      prettyErrors: false,
      schema: 'core',
      version: '1.2',
      logLevel: 'error',
    });
    const faults = [...doc.errors, ...doc.warnings];
    if (faults.length > 0) {
      return { config: null, problems: faults.map((fault) => syntaxProblem(fault, doc, text, lines)) };
    }
    content = doc.toJS({ maxAliasCount: limits.yamlAliases });
  } catch (cause) {
    return { config: null, problems: [{ line: 1, message: whyThrown(cause) }] };
  }
  const reader = new Reader(doc, lines);
  const config = read(content, reader);
  return reader.problems.length === 0
    ? { config, problems: [] }
    : { config: null, problems: reader.problems.toSorted((a, b) => a.line - b.line) };
}

/** yaml throws a ReferenceError for an alias without its anchor, and for too many of them. */
function whyThrown(cause: unknown): string {
  if (!(cause instanceof ReferenceError)) throw cause;
  const reason = cause.message.replace(/^[A-Z]/, (first) => first.toLowerCase());
  return `expected at most ${limits.yamlAliases} aliases, each after its anchor: ${reason}`;
}

/**
 * For those who need it right.
 * @param path for messages
 * @throws AppError `bad-config` with the first problem and the number of the others
 */
export function rightOnly<T>(reading: ConfigReading<T>, path: string, hint?: string): T {
  const { config, problems } = reading;
  if (problems.length === 0) return config as T;
  const [first, ...others] = problems;
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`;
  throw new AppError('bad-config', `${path}:${first?.line}: ${first?.message}${more}`, { hint });
}
