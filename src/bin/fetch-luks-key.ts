import { asAppError, exitStatusOf } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Locks } from '../base/ports.ts';
import { main } from '../cli/main.ts';
import type { World } from '../cli/world.ts';
import { credentialsBySystemd } from '../creds/credentials.ts';
import { takeConnection } from '../os/activation.ts';
import { keptAlive, lastKeptAliveMs, leaveProof, leftProof, order, outcome } from '../os/alive-files.ts';
import { serveAll } from '../os/all-connections.ts';
import { pinAtTerminal, pinByAgents } from '../os/ask-pin.ts';
import { bootId } from '../os/boot-id.ts';
import { clock } from '../os/clock.ts';
import { durableFiles } from '../os/durable-files.ts';
import { editInMemory } from '../os/editor.ts';
import { files } from '../os/files.ts';
import { http } from '../os/http.ts';
import { journal } from '../os/journal.ts';
import { exitNow } from '../os/libc.ts';
import { localService } from '../os/local-service.ts';
import { lockFolder, locksIn } from '../os/locks.ts';
import { memoryFiles } from '../os/memory-files.ts';
import { askSocket } from '../os/named-client.ts';
import { serviceManager } from '../os/notify.ts';
import { parsecSocket } from '../os/parsec-socket.ts';
import { runner } from '../os/processes.ts';
import { random } from '../os/random.ts';
import { rest } from '../os/resident.ts';
import { makeScratchFolder } from '../os/scratch-folder.ts';
import { serverConnector } from '../os/server-connection.ts';
import { print, readStandardInput, say, standardOutputIsTerminal } from '../os/standard-streams.ts';
import { askPassphrase, confirm } from '../os/terminal.ts';
import { tpmDevice } from '../os/tpm-device.ts';
import { parsecAt } from '../parsec/parsec.ts';
import type { ProtectionWorld } from '../protection/world.ts';
import type { ServerWorld } from '../remote/server-world.ts';
import { tpmLookByTools } from '../tpm/look.ts';
import { tpmByTools } from '../tpm/tpm.ts';

// Before the pool's first use: half of its threads look names up, and each of the network pins may hang in one.
process.env['UV_THREADPOOL_SIZE'] = String(2 * limits.networkPins + 2);

const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort());
// A defect ends the command as SIGTERM does, so that its client is answered; but it ends.
process.on('uncaughtException', (thrown) => {
  stop.abort(asAppError(thrown));
  setTimeout(() => exitNow(exitStatusOf.bug), limits.aftermathMs);
});

/** Found when first needed: who uses no TPM needs no folder for its lock. */
const locks: Locks = {
  acquire: (...args) => locksIn(lockFolder(process.getuid?.() ?? 0, process.env)).acquire(...args),
};

/** What is read and sealed with whatever command runs; made when it is used. */
const protectionWorld: ProtectionWorld = {
  random,
  files,
  http,
  tpm: tpmByTools({ runner, memoryFiles, locks, files }, { tcti: tpmDevice(process.env) }),
  credentials: credentialsBySystemd(runner),
  parsec: parsecAt(
    localService(() => parsecSocket(process.env)),
    process.getuid?.() ?? 0,
  ),
};

const serverWorld: ServerWorld = {
  connector: serverConnector,
  bootId,
  leftProof,
  async identity(path, signal) {
    const { readIdentityFile } = await import('../remote/identity-file.ts');
    const { certificate, key } = await readIdentityFile(path, protectionWorld, signal);
    return { clientCertificate: certificate, clientKey: key };
  },
};

/** Of the keep-alive daemon's unit; to the others systemd says nothing. */
const manager = serviceManager(process.env);

const world: World = {
  ...protectionWorld,
  clock,
  tpmLook: tpmLookByTools({ runner, memoryFiles, locks, files }, { tcti: tpmDevice(process.env) }),
  scratchFolder: makeScratchFolder,
  nowUnixMs: Date.now,
  journal,
  serverWorld,
  leaveProof,
  pinOf: pinAtTerminal,
  pinOfAgents: pinByAgents(runner),
  runner,
  memoryFiles,
  locks,
  keepalive: {
    clock,
    random,
    files,
    durable: durableFiles,
    journal,
    wallMs: Date.now,
    serverWorld,
    leftProof,
    keptAlive,
    order,
    outcome,
    rest,
    ready: manager.ready,
    watchdogMs: manager.watchdogMs,
    alive: manager.alive,
  },
  keyServer: {
    async ask(socket, request) {
      const { askOperatorSocket } = await import('../os/operator-client.ts');
      return await askOperatorSocket(socket, request, stop.signal);
    },
  },
  durable: durableFiles,
  lastKeptAliveMs,
  signal: stop.signal,
  standardOutputIsTerminal,
  takeConnection: () => takeConnection(process.env),
  serveAll: (serve) => serveAll(process.env, serve, stop.signal),
  askSocket: (path, address, maxBytes) => askSocket(path, address, maxBytes, stop.signal),
  readStandardInput: (maxBytes) => readStandardInput(maxBytes, stop.signal),
  print,
  say,
  askPassphrase: (question, hint) => askPassphrase(question, hint, stop.signal),
  edit: (secret) => editInMemory(secret, process.env, stop.signal),
  confirm: (lines, question, hint) => confirm(lines, question, hint, stop.signal),
};

void main(process.argv.slice(2), world).then(exitNow);
