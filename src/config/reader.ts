import { type GenericSchema, safeParse } from 'valibot';
import type { Document, LineCounter } from 'yaml';
import { dotted, offsetOf, type Path, shown } from './document.ts';

export interface ConfigProblem {
  readonly line: number;
  /** `volumes.data.url: expected …, got …` */
  readonly message: string;
}

/** Holds a file's content against what it should be, and notes all that is wrong with its line. */
export class Reader {
  readonly problems: ConfigProblem[] = [];
  readonly #doc: Document.Parsed;
  readonly #lines: LineCounter;

  constructor(doc: Document.Parsed, lines: LineCounter) {
    this.#doc = doc;
    this.#lines = lines;
  }

  /** @returns null when it is wrong, which was noted */
  parsed<T>(schema: GenericSchema<unknown, T>, value: unknown, at: Path): T | null {
    const result = safeParse(schema, value);
    if (result.success) return result.output;
    for (const issue of result.issues) {
      const keys = (issue.path ?? []).map((item) => item.key as string | number);
      const got = issue.path === undefined ? value : issue.path.at(-1)?.value;
      this.wrong([...at, ...keys], issue.message, shown(got));
    }
    return null;
  }

  /** @param fields the only keys that may be there; null = any */
  isMapOf(
    value: unknown,
    fields: readonly string[] | null,
    at: Path,
  ): value is Readonly<Record<string, unknown>> {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.wrong(at, 'a map', shown(value));
      return false;
    }
    for (const key of Object.keys(value)) {
      if (fields?.includes(key) === false) {
        this.wrong([...at, key], `one of the keys ${fields.join(', ')}`, JSON.stringify(key));
      }
    }
    return true;
  }

  wrong(at: Path, expected: string, got: string): void {
    this.add(at, `expected ${expected}, got ${got}`);
  }

  add(at: Path, message: string): void {
    this.problems.push({
      line: this.#lines.linePos(offsetOf(this.#doc, at)).line,
      message: `${dotted(at)}${message}`,
    });
  }
}
