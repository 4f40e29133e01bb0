import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';

/** Debian 13's own parsec-service, unpacked by `.ci/setup`, with its own C library beside it. */
const ROOT = new URL('../../node_modules/.cache/parsec/usr', import.meta.url).pathname;
const LIBRARIES = `${ROOT}/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;

/** A real Parsec service of the test's own. */
export interface ParsecService {
  readonly socket: string;
  /** PARSEC_SERVICE_ENDPOINT. */
  readonly environment: { readonly PARSEC_SERVICE_ENDPOINT: string };
  /** Ends it; its keys stay. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Forgets all keys: as another machine's. */
  forget(): void;
}

export type Provider = 'MbedCrypto' | { readonly tcti: string };

/** @param providers the favourite first */
export async function ownParsec(t: Test, providers: readonly Provider[]): Promise<ParsecService> {
  if (!existsSync(`${ROOT}/bin/parsec`)) throw new Error(`${ROOT}: no parsec-service: run .ci/setup`);
  const folder = mkdtempSync(join(tmpdir(), 'parsec-'));
  const socket = `${folder}/parsec.sock`;
  const state = `${folder}/state`;
  mkdirSync(state);
  writeFileSync(`${folder}/config.toml`, configuration(socket, state, providers));
  let child: ChildProcess | null = null;
  const start = async () => {
    child = await started(folder, state);
  };
  const stop = () => ended(child);
  t.teardown(async () => {
    await stop();
    rmSync(folder, { recursive: true });
  });
  await start();
  return {
    socket,
    environment: { PARSEC_SERVICE_ENDPOINT: `unix:${socket}` },
    start,
    stop,
    forget() {
      rmSync(state, { recursive: true });
      mkdirSync(state);
    },
  };
}

function configuration(socket: string, state: string, providers: readonly Provider[]): string {
  const tables = providers.map((provider) =>
    provider === 'MbedCrypto'
      ? 'provider_type = "MbedCrypto"'
      : `provider_type = "Tpm"\ntcti = "${provider.tcti}"\nowner_hierarchy_auth = ""`,
  );
  return `[core_settings]
allow_root = true
log_level = "info"
[listener]
listener_type = "DomainSocket"
timeout = 3000
socket_path = "${socket}"
[authenticator]
auth_type = "UnixPeerCredentials"
[[key_manager]]
name = "keys"
manager_type = "SQLite"
sqlite_db_path = "${state}/keys.sqlite3"
${tables.map((table) => `[[provider]]\n${table}\nkey_info_manager = "keys"\n`).join('')}`;
}

/** Its software provider keeps keys in the working folder. */
async function started(folder: string, state: string): Promise<ChildProcess> {
  const loader = `${LIBRARIES}/${readdirSync(LIBRARIES).find((name) => name.startsWith('ld-linux'))}`;
  const args = ['--library-path', LIBRARIES, `${ROOT}/bin/parsec`, '-c', `${folder}/config.toml`];
  const child = spawn(loader, args, { cwd: state, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (log += chunk));
  while (!log.includes('Parsec is ready')) {
    if (child.exitCode !== null) throw new Error(`parsec ended with ${child.exitCode}: ${log}`);
    await pause(10);
  }
  return child;
}

async function ended(child: ChildProcess | null): Promise<void> {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once('exit', done));
  child.kill();
  await gone;
}
