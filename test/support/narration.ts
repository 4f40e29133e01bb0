import { spawn } from 'node:child_process';
import { styleText } from 'node:util';

/** How a program that shows itself talks: numbered steps, commands as a shell takes them, what they said, and why. */
export interface Narration {
  /** Times a step, and says every second that it is still at it. @throws Failure */
  step(title: string, act: () => Promise<void>): Promise<void>;
  /** What a reader should know, indented and wrapped. */
  say(text: string): void;
  /** Something that came out, as it came. */
  show(text: string): void;
  /** A command that somebody else runs, as a shell would take it. */
  command(line: string): void;
  /** Shows a command, runs it in a shell, and shows its output. */
  run(line: string): Promise<Ran>;
  /** What the progress lines say is waited for, until the step ends. */
  waitingFor(what: string): void;
}

export interface Ran {
  readonly status: number | null;
  /** Standard output and standard error. */
  readonly output: string;
}

/** A step that did not do what it said. */
export class Failure extends Error {}

/** @throws Failure */
export function expectStatus(whose: string, got: number | null, expected: number): void {
  if (got !== expected) throw new Failure(`expected ${whose} exit status ${expected}, got ${got}`);
}

/** @throws Failure */
export function expectText(what: string, got: string, ...texts: readonly string[]): void {
  const missing = texts.find((text) => !got.includes(text));
  if (missing === undefined) return;
  throw new Failure(`expected ${what} to say ${JSON.stringify(missing)}, got ${JSON.stringify(got.trim())}`);
}

const WIDTH = 76;
const colours = process.stdout.isTTY && process.env.NO_COLOR === undefined;
type Style = Parameters<typeof styleText>[0];
const style = (how: Style | undefined, text: string) =>
  colours && how !== undefined ? styleText(how, text, { validateStream: false }) : text;

/**
 * @param key what `$key` stands for in commands: a variable of the shell, seen in no argument and no environment
 * @param signal ends what runs
 */
export function narrate(key: string, environment: NodeJS.ProcessEnv, signal: AbortSignal): Narration {
  let steps = 0;
  let waiting = '';
  const print = (text: string, indent: string, how?: Style) => {
    for (const line of text.trimEnd().split('\n')) process.stdout.write(`${style(how, indent + line)}\n`);
  };
  const command = (line: string) => print(`$ ${line.replaceAll('\n', '\n  ')}`, '   ', 'cyan');
  const show = (text: string) => print(text, '     ');
  return {
    async step(title, act) {
      signal.throwIfAborted();
      print(`\n${++steps}. ${title}`, '', 'bold');
      waiting = 'working';
      const startMs = performance.now();
      const elapsedMs = () => Math.round(performance.now() - startMs);
      const progress = setInterval(
        () => print(`... ${Math.round(elapsedMs() / 1000)} s: ${waiting}`, '     ', 'yellow'),
        1000,
      );
      try {
        await act();
      } catch (thrown) {
        signal.throwIfAborted();
        const reason = thrown instanceof Error ? thrown.message.split('\n')[0] : String(thrown);
        throw new Failure(`step ${steps} (${title}): ${reason}`, { cause: thrown });
      } finally {
        clearInterval(progress);
      }
      signal.throwIfAborted();
      print(`ok, ${elapsedMs()} ms`, '   ', 'green');
    },
    say: (text) => print(wrapped(text), '   '),
    show,
    command,
    async run(line) {
      signal.throwIfAborted();
      command(line);
      const ran = await shell(line, key, environment, signal);
      if (ran.output !== '') show(ran.output);
      return ran;
    },
    waitingFor: (what) => {
      waiting = what;
    },
  };
}

/** In a process group of its own, to end all of a pipeline. */
async function shell(line: string, key: string, env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<Ran> {
  const child = spawn('/bin/sh', ['-c', `IFS= read -r key\n${line}`], { env, detached: true });
  const { pid } = child;
  if (pid === undefined) throw new Failure('/bin/sh cannot be started');
  const { promise, resolve } = Promise.withResolvers<number | null>();
  child.on('close', resolve);
  child.stdin.on('error', () => {}).end(`${key}\n`);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const end = () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-pid, 'SIGTERM');
  };
  signal.addEventListener('abort', end);
  const status = await promise.finally(() => signal.removeEventListener('abort', end));
  return { status, output };
}

function wrapped(text: string): string {
  const lines = [''];
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1) ?? '';
    if (line === '') lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= WIDTH) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines.join('\n');
}
