import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { askSocket } from '../../src/os/named-client.ts';

/** How one handler ended: what its client got, its exit status (null when a signal ended it), its journal lines. */
export interface Answer {
  readonly bytes: Buffer;
  readonly status: number | null;
  readonly lines: readonly string[];
}

export interface Activated {
  readonly path: string;
  /** Everything on the handlers' standard error, `<N>` included. */
  readonly journal: string[];
  /** Connects from a name as systemd does; a volume's name is put into systemd's form. */
  ask(volumeOrAddress: string | Buffer): Promise<Buffer>;
  /** The same, and waits for the handler's end: one at a time. */
  askAlone(volumeOrAddress: string | Buffer): Promise<Answer>;
  /** Resolves with the next handler's exit status. */
  ended(): Promise<number | null>;
  stop(): Promise<void>;
}

const DEFAULT_PROGRAM = [
  new URL('../../node_modules/.bin/node', import.meta.url).pathname,
  '--no-warnings',
  new URL('../../src/bin/fetch-luks-key.ts', import.meta.url).pathname,
];

/** Starts `fetch-luks-key handle ARGS` for each connection, as a socket unit with Accept=yes does. */
export async function activate(
  args: readonly string[],
  options: { environment?: Record<string, string>; program?: readonly string[] } = {},
): Promise<Activated> {
  const folder = mkdtempSync('/tmp/flk-socket-');
  const path = `${folder}/s`;
  const environment = Object.entries(options.environment ?? {}).flatMap(([name, value]) => [
    '-E',
    `${name}=${value}`,
  ]);
  const child = spawn(
    'systemd-socket-activate',
    ['--accept', '-l', path, ...environment, ...(options.program ?? DEFAULT_PROGRAM), 'handle', ...args],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const journal: string[] = [];
  const ends: (number | null)[] = [];
  const waiting: ((status: number | null) => void)[] = [];
  const { promise: listening, resolve, reject } = Promise.withResolvers<void>();
  child.on('error', reject);
  child.on('exit', (status) => reject(new Error(`systemd-socket-activate ended with ${status}`)));
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.startsWith('Listening on')) resolve();
    else if (line.startsWith('<')) journal.push(line);
    else if (!/^(Communication attempt|Connection from|Spawned|Execing|Child)/.test(line)) journal.push(line);
    const died = /^Child \d+ died with (?:code (\d+)|signal)/.exec(line);
    if (died === null) return;
    const status = died[1] === undefined ? null : Number(died[1]);
    const next = waiting.shift();
    if (next === undefined) ends.push(status);
    else next(status);
  });
  await listening;
  const ask = (asked: string | Buffer) =>
    askSocket(path, addressFor(asked), 2 ** 21, new AbortController().signal);
  const ended = () => {
    const status = ends.shift();
    if (status !== undefined) return Promise.resolve(status);
    return new Promise<number | null>((done) => waiting.push(done));
  };
  return {
    path,
    journal,
    ask,
    ended,
    async askAlone(asked) {
      const seen = journal.length;
      const bytes = await ask(asked);
      const status = await ended();
      return { bytes, status, lines: journal.slice(seen) };
    },
    stop: () => end(child).then(() => rmSync(folder, { recursive: true })),
  };
}

export function addressFor(asked: string | Buffer): Buffer {
  const number = Math.floor(Math.random() * 2 ** 48).toString(16);
  return typeof asked === 'string' ? Buffer.from(`\0${number}/cryptsetup/${asked}`) : asked;
}

async function end(child: ChildProcess): Promise<void> {
  child.removeAllListeners('exit');
  const gone = new Promise((done) => child.once('exit', done));
  child.kill();
  await gone;
}
