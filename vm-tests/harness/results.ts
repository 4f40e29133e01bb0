import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import type { Suite, Tier } from './guest.ts';

/**
 * What the processes of a run tell the runner, by a file of one JSON text a line: what they declare, what came of it, and
 * what they have to say. Not by standard error, most of which tap's short reports leave out.
 */

const FOLLOW_MS = 500;

/** A scenario on a suite in a tier, as its file declares it. */
export interface Declaration {
  /** The file's name, without folders. */
  readonly file: string;
  readonly scenario: string;
  readonly suite: Suite;
  readonly tier: Tier;
  /** Whether this run asks for it. */
  readonly wanted: boolean;
}

export interface Outcome {
  readonly scenario: string;
  readonly suite: Suite;
  readonly tier: Tier;
  readonly passed: boolean;
  /** Of the boots alone, first to last. */
  readonly seconds: readonly number[];
  /** What the scenario keeps of it, in order. */
  readonly evidence: readonly string[];
}

export interface Saying {
  readonly said: string;
}

/** Adds it to the file that the runner named. @returns false when there is none: nobody asks */
export function record(line: Declaration | Outcome | Saying): boolean {
  const { VM_TESTS_RESULTS: file } = process.env;
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(line)}\n`);
  return file !== undefined;
}

export interface Results {
  readonly declarations: readonly Declaration[];
  readonly outcomes: readonly Outcome[];
  readonly said: readonly string[];
}

export function readResults(file: string): Results {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  // What follows the last line's end is still being written.
  const whole = text.split('\n').slice(0, -1);
  const lines = whole.map((line) => JSON.parse(line) as Declaration | Outcome | Saying);
  return {
    declarations: lines.filter((line) => 'file' in line),
    outcomes: lines.filter((line) => 'passed' in line),
    said: lines.flatMap((line) => ('said' in line ? [line.said] : [])),
  };
}

/** Shows what is said soon after. @returns ends it, once all of it is shown */
export function follow(file: string, show: (text: string) => void): () => void {
  let shown = 0;
  const look = () => {
    const { said } = readResults(file);
    for (const text of said.slice(shown)) show(text);
    shown = said.length;
  };
  const timer = setInterval(look, FOLLOW_MS);
  return () => {
    clearInterval(timer);
    look();
  };
}

/** What tap takes for nothing to do: files that declare nothing, scenarios that never came to an end. */
export function missing(
  { declarations, outcomes }: Pick<Results, 'declarations' | 'outcomes'>,
  files: readonly string[],
): string[] {
  const name = ({ scenario, suite, tier }: Declaration | Outcome) => `${scenario}, ${suite}, ${tier}`;
  const ended = new Set(outcomes.map(name));
  const declares = new Set(declarations.map(({ file }) => file));
  return [
    ...files.filter((file) => !declares.has(file)).map((file) => `${file} declares no scenario`),
    ...declarations
      .filter((declared) => declared.wanted && !ended.has(name(declared)))
      .map((declared) => `${name(declared)} has no result`),
  ];
}
