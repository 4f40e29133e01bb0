import { execFileSync, spawn } from 'node:child_process';
import { chownSync, globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';

/** A real PostgreSQL of this test alone, on a unix socket only. */
export interface PostgresServer {
  /** Of a new, empty database. */
  database(): Promise<string>;
  /** Folder of its data. */
  readonly data: string;
  /** At once, as if the power had failed. */
  kill(): Promise<void>;
  /** Ends every connection, rolls back what is under way. */
  stop(): Promise<void>;
  /** @param settings `name=value` each, beside those of postgresql.conf */
  start(...settings: string[]): Promise<void>;
}

/** Debian keeps the programs of each version apart. */
function program(name: string): string {
  const found = globSync(`/usr/lib/postgresql/*/bin/${name}`).sort().at(-1);
  if (found === undefined) throw new Error(`${name} is missing: install the package postgresql`);
  return found;
}

/** initdb and postgres refuse root. */
const unprivileged =
  process.getuid?.() === 0
    ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups']
    : ['setpriv'];

export async function startPostgres(
  t: { teardown(action: () => unknown): unknown },
  copyOf?: (data: string, as: readonly string[]) => void,
): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), 'postgres-'));
  if (process.getuid?.() === 0) {
    const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres']));
    chownSync(folder, id('-u'), id('-g'));
  }
  const data = join(folder, 'data');
  const [prefix = '', ...rest] = unprivileged;
  const initdb = [program('initdb'), '--no-sync', '--auth=trust', '--username=keys', '-D', data];
  if (copyOf === undefined) execFileSync(prefix, [...rest, ...initdb], { stdio: 'ignore', cwd: folder });
  else copyOf(data, unprivileged);
  let running = await launch(folder, data, []);
  t.teardown(async () => {
    await running('SIGKILL');
    rmSync(folder, { recursive: true });
  });
  const url = (name: string) => `postgres://keys@/${name}?host=${folder}`;
  let count = 0;
  return {
    data,
    async database() {
      const name = `store${count++}`;
      const client = new pg.Client(url('postgres'));
      await client.connect();
      await client.query(`CREATE DATABASE ${name} STRATEGY = FILE_COPY`);
      await client.end();
      return url(name);
    },
    kill: () => running('SIGKILL'),
    stop: () => running('SIGINT'),
    start: async (...settings) => {
      running = await launch(folder, data, settings);
    },
  };
}

/** @returns what ends it (postgres(1): SIGINT is a fast shutdown) */
async function launch(folder: string, data: string, settings: readonly string[]) {
  const [prefix = '', ...rest] = unprivileged;
  const options = ['max_connections=60', 'shared_buffers=16MB', ...settings].flatMap((each) => ['-c', each]);
  // Ends with the test, also when that is killed.
  const args = [
    ...rest,
    '--pdeathsig',
    'KILL',
    program('postgres'),
    '-D',
    data,
    '-k',
    folder,
    '-h',
    '',
    ...options,
  ];
  const child = spawn(prefix, args, { stdio: ['ignore', 'ignore', 'pipe'], cwd: folder });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-4096);
  });
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  while (!(await answers(folder))) {
    if (child.exitCode !== null) throw new Error(`postgres ended: ${output}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return async (signal: 'SIGKILL' | 'SIGINT') => {
    child.kill(signal);
    await gone;
  };
}

async function answers(folder: string): Promise<boolean> {
  const client = new pg.Client(`postgres://keys@/postgres?host=${folder}`);
  try {
    await client.connect();
    await client.end();
    return true;
  } catch {
    return false;
  }
}
