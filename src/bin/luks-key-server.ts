import { createPrivateKey } from 'node:crypto';
import { AppError, asAppError, exitStatusOf } from '../base/errors.ts';
import { serverLimits } from '../base/server-limits.ts';
import { main } from '../cli/server/main.ts';
import type { OperatorWorld, ServeOptions } from '../cli/server/world.ts';
import { defaultKeyServerConfig, loadKeyServerConfig } from '../config/key-server.ts';
import { clock } from '../os/clock.ts';
import { files } from '../os/files.ts';
import { journal } from '../os/journal.ts';
import { exitNow } from '../os/libc.ts';
import { serviceManager } from '../os/notify.ts';
import { askOperatorSocket } from '../os/operator-client.ts';
import { random } from '../os/random.ts';
import { print, readStandardInput, say } from '../os/standard-streams.ts';
import { askPassphrase, confirmName } from '../os/terminal.ts';
import { Rounds } from '../server/alerts/rounds.ts';
import type { App } from '../server/api/app.ts';
import { AuditHeads } from '../server/api/audit-heads.ts';
import { type Counters, noCounts } from '../server/api/counters.ts';
import { destroyer } from '../server/api/deleted-keys.ts';
import { openStore } from '../server/store/open.ts';
import { startAlerts } from './alerts.ts';
import { startListeners } from './listeners.ts';
import { masterKeysFor } from './master-keys.ts';
import { keysOfServer } from './own-keys.ts';
import { restore } from './restore.ts';
import { storeOptions } from './store-options.ts';
import { upkeepOf } from './upkeep.ts';

// Exchanges run in the pool: one for each processor, and some for files and names.
process.env['UV_THREADPOOL_SIZE'] ??= '8';

const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort());
process.on('uncaughtException', (thrown) => {
  stop.abort(asAppError(thrown));
  setTimeout(() => exitNow(exitStatusOf.bug), serverLimits.stopMs);
});

async function serve(options: ServeOptions): Promise<void> {
  const { state, signal } = { ...options, signal: stop.signal };
  const manager = serviceManager(process.env);
  const keys = await keysOfServer(options);
  const masterKeys = await masterKeysFor(state);
  const store = await openStore(await storeOptions(options, masterKeys, signal));
  const heads = new AuditHeads(store, createPrivateKey(keys.current.key));
  const latestHead = () => heads.latest;
  const alerts = await startAlerts(options.webhooks, latestHead);
  const counters = noCounts();
  const upkeep = upkeepOf({ options, keys, masterKeys, store, alerts });
  const app: App = { store, random, clock, alert: alerts.tell, counters, keys, latestHead, upkeep };
  const rounds = new Rounds(app, clock, journal);
  const listeners = await startListeners(options, keys.current, { app, rounds, webhooks: alerts.webhooks });
  journal.info(`serving machines on port ${listeners.port} as ${keys.pin}`);
  keys.onSuccession(async (current) => {
    // No head in between: one that the key of its connection has not signed would alarm machines.
    heads.signWith(createPrivateKey(current.key));
    await listeners.renew(current);
    journal.info(`serving machines as ${keys.pin}`);
  });
  manager.ready();
  const going = rounds.run(signal);
  const destroyDeleted = destroyer(store, clock);
  try {
    await heartbeat(counters, signal, async () => {
      // A database that is away is waited for: being started anew would not bring it back.
      manager.alive();
      await store.tick();
      await heads.sign();
      await destroyDeleted();
    });
  } finally {
    manager.stopping();
    await Promise.all([listeners.stop(), going]);
    await alerts.stop();
    await store.close();
  }
  if (signal.reason instanceof AppError) throw signal.reason;
}

/** The lease clock goes on, and what happened is signed, until the server stops. A store that is away is tried again. */
async function heartbeat(counters: Counters, signal: AbortSignal, beat: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    try {
      await beat();
      counters.heartbeats++;
    } catch (thrown) {
      counters.failedHeartbeats++;
      journal.error(`store: ${asAppError(thrown).message}`);
    }
    await clock.sleep(serverLimits.beatMs, signal).catch(() => {});
  }
}

const world: OperatorWorld = {
  signal: stop.signal,
  async serverConfig(path) {
    const config = await loadKeyServerConfig(files, path ?? '/etc/luks-key-server/config.yaml');
    if (config === null && path !== null) throw new AppError('bad-config', `${path}: no such file`);
    return config ?? defaultKeyServerConfig;
  },
  serve,
  restore: (options, path, passphrase) => restore(options, path, passphrase, stop.signal),
  ask: (socket, request) => askOperatorSocket(socket, request, stop.signal),
  nap: (ms) => clock.sleep(ms, stop.signal),
  files,
  readStandardInput: (maxBytes) => readStandardInput(maxBytes, stop.signal),
  askPassphrase: (question, hint) => askPassphrase(question, hint, stop.signal),
  nowMs: Date.now,
  print,
  say,
  confirmName: (lines, name, hint) => confirmName({ lines, name, hint }, stop.signal),
};

void main(process.argv.slice(2), world).then(exitNow);
