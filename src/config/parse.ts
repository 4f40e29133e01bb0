import { type GenericSchema, safeParse } from 'valibot';
import {
  type Document,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type YAMLError,
} from 'yaml';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { volumeName } from '../base/names.ts';
import { type Action, actionsSchema } from './action.ts';
import { type Config, emptyConfig, type VolumeSettings } from './config.ts';
import { isServerName, type ServerSettings, serverFields, serverSchema, serverSettings } from './server.ts';
import { contradictions, settingsOf, volumeFields, volumeSchema } from './volume.ts';

export interface ConfigProblem {
  readonly line: number;
  /** `volumes.data.url: expected …, got …` */
  readonly message: string;
}

export type ConfigReading =
  | { readonly config: Config; readonly problems: readonly [] }
  | { readonly config: null; readonly problems: readonly ConfigProblem[] };

/**
 * config.yaml for those who need it right.
 * @param path for messages
 * @throws AppError `bad-config` with the first problem and the number of the others
 */
export function parseConfig(text: string, path: string): Config {
  const { config, problems } = readConfig(text);
  if (config !== null) return config;
  const [first, ...others] = problems;
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`;
  throw new AppError('bad-config', `${path}:${first?.line}: ${first?.message}${more}`, {
    hint: 'fetch-luks-key check lists everything that is wrong',
  });
}

/** config.yaml with all that is wrong in it, in the order of its lines. */
export function readConfig(text: string): ConfigReading {
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
  const config = reader.config(content);
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

type Path = readonly (string | number)[];

class Reader {
  readonly problems: ConfigProblem[] = [];
  readonly #doc: Document.Parsed;
  readonly #lines: LineCounter;

  constructor(doc: Document.Parsed, lines: LineCounter) {
    this.#doc = doc;
    this.#lines = lines;
  }

  config(content: unknown): Config {
    const fields = ['servers', 'volumes', 'on-revoked', 'on-locked'];
    // A file of comments alone says as much as an absent one.
    if (content === null || !this.#isMapOf(content, fields, [])) return emptyConfig;
    return {
      servers: this.#members(content, 'servers', (name, member, at) => this.#server(name, member, at)),
      volumes: this.#members(content, 'volumes', (name, member, at) => this.#volume(name, member, at)),
      onRevoked: this.#actions(content, 'on-revoked'),
      onLocked: this.#actions(content, 'on-locked'),
    };
  }

  /** A map from names to maps; those that `member` finds wrong are left out. */
  #members<T>(
    content: Readonly<Record<string, unknown>>,
    field: string,
    member: (name: string, fields: unknown, at: Path) => T | null,
  ): Map<string, T> {
    const { [field]: listed = {} } = content;
    const members = new Map<string, T>();
    if (!this.#isMapOf(listed, null, [field])) return members;
    for (const [name, fields] of Object.entries(listed)) {
      const read = member(name, fields, [field, name]);
      if (read !== null) members.set(name, read);
    }
    return members;
  }

  #server(name: string, fields: unknown, at: Path): ServerSettings | null {
    if (!isServerName(name)) this.#wrong(at, 'a name of letters, digits, . _ and -', JSON.stringify(name));
    if (!this.#isMapOf(fields, serverFields, at)) return null;
    const output = this.#parsed(serverSchema, fields, at);
    return output === null ? null : serverSettings(output);
  }

  #volume(name: string, fields: unknown, at: Path): VolumeSettings | null {
    try {
      volumeName(name);
    } catch (thrown) {
      this.#add(at, thrown instanceof Error ? thrown.message : String(thrown));
    }
    if (!this.#isMapOf(fields, volumeFields, at)) return null;
    const output = this.#parsed(volumeSchema, fields, at);
    if (output === null) return null;
    const together = contradictions(output);
    for (const { field, expected, got } of together) this.#wrong([...at, field], expected, got);
    return together.length === 0 ? settingsOf(output) : null;
  }

  #actions(content: Readonly<Record<string, unknown>>, field: string): readonly Action[] {
    const { [field]: listed } = content;
    return listed === undefined ? [] : (this.#parsed(actionsSchema, listed, [field]) ?? []);
  }

  #parsed<T>(schema: GenericSchema<unknown, T>, value: unknown, at: Path): T | null {
    const result = safeParse(schema, value);
    if (result.success) return result.output;
    for (const issue of result.issues) {
      const keys = (issue.path ?? []).map((item) => item.key as string | number);
      const got = issue.path === undefined ? value : issue.path.at(-1)?.value;
      this.#wrong([...at, ...keys], issue.message, shown(got));
    }
    return null;
  }

  /** @param fields the only keys that may be there; null = any */
  #isMapOf(
    value: unknown,
    fields: readonly string[] | null,
    at: Path,
  ): value is Readonly<Record<string, unknown>> {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.#wrong(at, 'a map', shown(value));
      return false;
    }
    for (const key of Object.keys(value)) {
      if (fields?.includes(key) === false) {
        this.#wrong([...at, key], `one of the keys ${fields.join(', ')}`, JSON.stringify(key));
      }
    }
    return true;
  }

  #wrong(at: Path, expected: string, got: string): void {
    this.#add(at, `expected ${expected}, got ${got}`);
  }

  #add(at: Path, message: string): void {
    this.problems.push({
      line: this.#lines.linePos(offsetOf(this.#doc, at)).line,
      message: `${dotted(at)}${message}`,
    });
  }
}

/** Where a field's key, or a list's item, begins; what is behind an alias is where the alias is. */
function offsetOf(doc: Document.Parsed, at: Path): number {
  let node: unknown = doc.contents;
  let offset = doc.contents?.range[0] ?? 0;
  for (const step of at) {
    let begin: unknown;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === step);
      begin = pair?.key;
      node = pair?.value;
    } else {
      begin = node = isSeq(node) && typeof step === 'number' ? node.items[step] : undefined;
    }
    if (isScalar(begin) || isMap(begin) || isSeq(begin)) offset = begin.range?.[0] ?? offset;
  }
  return offset;
}

/** `volumes.data.allow[1]: `; nothing for the file as a whole. */
function dotted(at: Path): string {
  const plain = (step: string | number) => typeof step === 'string' && /^[\w-]+$/.test(step);
  const text = at.map((step) => (plain(step) ? `.${step}` : `[${JSON.stringify(step)}]`)).join('');
  return text === '' ? '' : `${text.replace(/^\./, '')}: `;
}

function syntaxProblem(
  fault: YAMLError,
  doc: Document.Parsed,
  text: string,
  lines: LineCounter,
): ConfigProblem {
  const [offset] = fault.pos;
  const { line, col } = lines.linePos(offset);
  if (fault.code === 'DUPLICATE_KEY') {
    return { line, message: `${dotted(pathOfKey(doc, offset))}expected this key once, got it again` };
  }
  const reason = fault.message.replace(/^[A-Z]/, (first) => first.toLowerCase()).replaceAll(/\s+/g, ' ');
  const near = text.slice(offset).split('\n', 1)[0] ?? '';
  return { line, message: `column ${col}: expected YAML, got ${shown(near)}: ${reason}` };
}

function pathOfKey(doc: Document.Parsed, offset: number): string[] {
  let found: string[] = [];
  visit(doc, {
    Pair(_, pair, ancestors) {
      if (!isScalar(pair.key) || pair.key.range?.[0] !== offset) return undefined;
      found = [...ancestors.filter(isPair), pair].map(({ key }) => String(isScalar(key) ? key.value : key));
      return visit.BREAK;
    },
  });
  return found;
}

/** A value for one line of a journal: cut, and an URL without what may be a secret in it. */
function shown(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (typeof value === 'object') return Array.isArray(value) ? 'a list' : 'a map';
  if (typeof value !== 'string') return String(value);
  const plain = value.includes('://') ? value.replace(/\/\/[^/]*@/, '//…@').replace(/\?.*/s, '?…') : value;
  return JSON.stringify(plain.length > 60 ? `${plain.slice(0, 60)}…` : plain);
}
