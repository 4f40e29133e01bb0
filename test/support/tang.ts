import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { portToKeep } from './ports.ts';

/** Where Debian 11 to 13 have it; started per connection, as its socket unit does. */
const TANGD = '/usr/libexec/tangd';
const KEYGEN = '/usr/libexec/tangd-keygen';

/** A real Tang server on a port of 127.0.0.1. */
export interface TangServer {
  /** Without a slash at the end. */
  readonly url: string;
  /** Folder of its keys. */
  readonly database: string;
  /** S256 thumbprint of the signing key. */
  readonly thp: string;
  /** Stops listening, and ends the connections. */
  stop(): Promise<void>;
  /** Listens again on the same port. */
  start(): Promise<void>;
}

/**
 * @param curve of the exchange key and the signing key; tangd-keygen(8) makes P-521
 * @param keys folder of keys to take instead of new ones
 */
export async function startTang(
  t: { teardown(action: () => unknown): unknown },
  curve: 'P-256' | 'P-521' = 'P-521',
  keys?: string,
): Promise<TangServer> {
  for (const tool of [TANGD, '/usr/bin/socat', '/usr/bin/jose']) {
    if (!existsSync(tool)) throw new Error(`${tool} is missing: install the packages tang, socat and jose`);
  }
  const database = mkdtempSync(join(tmpdir(), 'tang-'));
  chmodSync(database, 0o755);
  if (keys !== undefined) {
    cpSync(keys, database, { recursive: true });
  } else if (curve === 'P-521') {
    execFileSync(KEYGEN, [database], { stdio: 'ignore' });
  } else {
    addTangKey(database, 'signing', { alg: 'ES256' });
    addTangKey(database, 'exchange', { alg: 'ECMR', crv: 'P-256' });
  }
  const port = await portToKeep();
  let listener = await listen(database, port);
  const stop = () => listener.stop();
  t.teardown(async () => {
    await stop();
    rmSync(database, { recursive: true });
  });
  return {
    url: `http://127.0.0.1:${port}`,
    database,
    thp: thumbprintOf(database, 'S256'),
    stop,
    start: async () => {
      listener = await listen(database, port);
    },
  };
}

/** @param template as `jose jwk gen -i` takes it */
export function addTangKey(database: string, name: string, template: Record<string, unknown>): void {
  const file = join(database, `${name}.jwk`);
  execFileSync('jose', ['jwk', 'gen', '-i', JSON.stringify(template), '-o', file]);
}

/** The first signing key's thumbprint. */
export function thumbprintOf(database: string, hash: 'S1' | 'S256'): string {
  const signing = readdirSync(database)
    .map((name) => join(database, name))
    .find((path) => JSON.parse(readFileSync(path, 'utf8')).key_ops.includes('sign'));
  if (signing === undefined) throw new Error(`${database} has no signing key`);
  return execFileSync('jose', ['jwk', 'thp', '-a', hash, '-i', signing], { encoding: 'utf8' }).trim();
}

/** socat, which forks a tangd for each connection; it says when it listens. */
async function listen(database: string, port: number) {
  const child = spawn(
    'setpriv',
    // Ends with the test, also when that is killed.
    [
      '--pdeathsig',
      'KILL',
      'socat',
      '-d',
      '-d',
      `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork`,
      `EXEC:${TANGD} ${database}`,
    ],
    // A group of its own, to end the forks along with it.
    { stdio: ['ignore', 'ignore', 'pipe'], detached: true },
  );
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const { pid } = child;
  if (pid === undefined) throw new Error('socat did not start');
  await new Promise<void>((resolve, reject) => {
    let output = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-4096);
      if (/listening on /.test(output)) resolve();
    });
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`socat ended: ${output}`)));
  });
  return {
    async stop() {
      if (child.exitCode === null && child.signalCode === null) process.kill(-pid, 'SIGKILL');
      await gone;
    },
  };
}
