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
  /** Of systemd-socket-activate. */
  readonly pid: number;
  /** Everything on the handlers' standard error, `<N>` included. */
  readonly journal: string[];
  /** Connects from a name as systemd does; a volume's name is put into systemd's form. */
  ask(volumeOrAddress: string | Buffer): Promise<Buffer>;
  /** The same, and waits for the handler's end: one at a time. */
  askAlone(volumeOrAddress: string | Buffer): Promise<Answer>;
  /** Resolves with the next handler's process id. */
  started(): Promise<number>;
  /** Resolves with the next handler's exit status. */
  ended(): Promise<number | null>;
  stop(): Promise<void>;
}

export const DEFAULT_PROGRAM = [
  new URL('../../node_modules/.bin/node', import.meta.url).pathname,
  '--no-warnings',
  new URL('../../src/bin/fetch-luks-key.ts', import.meta.url).pathname,
];

/**
 * Starts `fetch-luks-key handle ARGS` for each connection, as a socket unit with Accept=yes does.
 * @param options `folder` is where the socket is made; `stop` removes it. `standardInput`: as `StandardInput=socket` does
 */
export async function activate(
  args: readonly string[],
  options: {
    environment?: Record<string, string>;
    program?: readonly string[];
    folder?: string;
    standardInput?: boolean;
  } = {},
): Promise<Activated> {
  const folder = options.folder ?? mkdtempSync('/tmp/flk-socket-');
  const path = `${folder}/key.sock`;
  const environment = Object.entries(options.environment ?? {}).flatMap(([name, value]) => [
    '-E',
    `${name}=${value}`,
  ]);
  const child = spawn(
    'systemd-socket-activate',
    [
      ...['--accept', ...(options.standardInput ? ['--inetd'] : []), '-l', path, ...environment],
      ...(options.program ?? DEFAULT_PROGRAM),
      'handle',
      ...args,
    ],
    // A group of its own, to end the handlers along with it.
    { stdio: ['ignore', 'ignore', 'pipe'], detached: true },
  );
  const journal: string[] = [];
  const starts = queue<number>();
  const ends = queue<number | null>();
  const { promise: listening, resolve, reject } = Promise.withResolvers<void>();
  child.on('error', reject);
  child.on('exit', (status) => reject(new Error(`systemd-socket-activate ended with ${status}`)));
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.startsWith('Listening on')) resolve();
    else if (line.startsWith('<')) journal.push(line);
    else if (!/^(Communication attempt|Connection from|Spawned|Execing|Child)/.test(line)) journal.push(line);
    const spawned = /^Spawned .* as PID (\d+)/.exec(line);
    if (spawned !== null) starts.put(Number(spawned[1]));
    const died = /^Child \d+ died with (?:code (\d+)|signal)/.exec(line);
    if (died !== null) ends.put(died[1] === undefined ? null : Number(died[1]));
  });
  await listening;
  const ask = (asked: string | Buffer) =>
    askSocket(path, addressFor(asked), 2 ** 21, new AbortController().signal);
  return {
    path,
    pid: child.pid ?? 0,
    journal,
    ask,
    started: starts.take,
    ended: ends.take,
    async askAlone(asked) {
      const seen = journal.length;
      const bytes = await ask(asked);
      await starts.take();
      const status = await ends.take();
      return { bytes, status, lines: journal.slice(seen) };
    },
    stop: () => end(child).then(() => rmSync(folder, { recursive: true })),
  };
}

/** First in, first out; who takes from an empty one waits. */
function queue<T>(): { put(item: T): void; take(): Promise<T> } {
  const items: T[] = [];
  const waiting: ((item: T) => void)[] = [];
  return {
    put(item) {
      const next = waiting.shift();
      if (next === undefined) items.push(item);
      else next(item);
    },
    take: async () =>
      items.length > 0 ? (items.shift() as T) : new Promise<T>((done) => waiting.push(done)),
  };
}

export function addressFor(asked: string | Buffer): Buffer {
  const number = Math.floor(Math.random() * 2 ** 48).toString(16);
  return typeof asked === 'string' ? Buffer.from(`\0${number}/cryptsetup/${asked}`) : asked;
}

async function end(child: ChildProcess): Promise<void> {
  child.removeAllListeners('exit');
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once('exit', done));
  process.kill(-child.pid);
  await gone;
}
