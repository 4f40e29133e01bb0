import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { portToKeep } from './ports.ts';
import { run } from './run.ts';

const root = resolve(import.meta.dirname, '../..');
export const KEY_SERVER: readonly string[] = [
  join(root, 'node_modules/.bin/node'),
  '--no-warnings',
  join(root, 'src/bin/luks-key-server.ts'),
];

/** A real luks-key-server, on a port of 127.0.0.1. */
export interface KeyServerProcess {
  readonly url: string;
  readonly state: string;
  /** Where its operators ask. */
  readonly socket: string;
  /** Its journal, `<N>` included. */
  readonly journal: string[];
  /** Runs a command of luks-key-server against it. */
  command(...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }>;
  /** The line that `join` reads. */
  invite(name: string, ...options: string[]): Promise<string>;
  stop(signal?: NodeJS.Signals): Promise<number | null>;
  /** On the same port, with the same state. */
  start(): Promise<void>;
}

export async function startKeyServer(
  t: { teardown(action: () => unknown): unknown },
  ...options: string[]
): Promise<KeyServerProcess> {
  const state = mkdtempSync(join(tmpdir(), 'key-server-'));
  const socket = join(state, 'operator.sock');
  const port = await portToKeep();
  const url = `https://127.0.0.1:${port}`;
  const journal: string[] = [];
  let child: ChildProcess | null = null;
  const start = async () => {
    // A later option counts: one that is given here may take the place of ours.
    const args = ['serve', '--listen', `127.0.0.1:${port}`, '--state', state, '--socket', socket, ...options];
    const [program = '', ...rest] = [...KEY_SERVER, ...args];
    const started = spawn(program, rest, { stdio: ['ignore', 'ignore', 'pipe'] });
    child = started;
    await new Promise<void>((ready, failed) => {
      createInterface({ input: started.stderr }).on('line', (line) => {
        journal.push(line);
        if (line.includes('serving machines')) ready();
      });
      started.once('exit', (status) =>
        failed(new Error(`luks-key-server ended with ${status}: ${journal.join('\n')}`)),
      );
    });
  };
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> => {
    const running = child;
    if (running === null || running.exitCode !== null || running.signalCode !== null) return null;
    running.removeAllListeners('exit');
    const ended = new Promise<number | null>((done) => running.once('exit', done));
    running.kill(signal);
    return await ended;
  };
  const command = async (...args: string[]) => {
    const { stdout, ...ended } = await run([...KEY_SERVER, ...args, '--socket', socket], Buffer.alloc(0), {});
    return { ...ended, stdout: stdout.toString() };
  };
  await start();
  t.teardown(async () => {
    await stop('SIGKILL');
    rmSync(state, { recursive: true });
  });
  return {
    url,
    state,
    socket,
    journal,
    command,
    async invite(name, ...more) {
      const { status, stdout, stderr } = await command('invite', name, '--url', url, ...more);
      if (status !== 0) throw new Error(stderr);
      return stdout;
    },
    stop,
    start,
  };
}
