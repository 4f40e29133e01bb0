import { EventEmitter, once } from 'node:events';
import { closeSync, readFileSync, readSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { connectFrom } from '../../src/os/libc.ts';
import { addressFor } from '../support/activation.ts';
import { processesWith } from '../support/processes.ts';
import { sealerWith } from '../support/sealing.ts';
import { answer, serveHttp } from '../support/servers.ts';
import { comesTo, type Outcome, type Stage, setStage } from '../support/stage.ts';
import { startSwtpm } from '../support/swtpm.ts';

const KEY = Buffer.from('for who waits');
const LONG = Buffer.alloc(64 * 1024, 'k');
const tpm = await startSwtpm();
t.teardown(() => tpm.remove());
const seal = sealerWith(tpm.tcti, t.testdir());
const byTpm = await seal('tpm2', {}, KEY);
const asked = new EventEmitter();
const keys = await serveHttp(t, (request, response) => {
  asked.emit(request.url ?? '');
  if (request.url === '/quick') answer(200, KEY)(request, response);
  else if (request.url === '/late') setTimeout(() => answer(200, KEY)(request, response), 1000);
  else if (request.url === '/long') answer(200, LONG)(request, response);
  else answer(503, '')(request, response);
});

/** Volumes whose key comes at once, late, is as long as may be, never comes, or is in the TPM. */
async function stageWithKeys(t: Test, tcti = tpm.tcti): Promise<Stage> {
  const stage = await setStage(t, { environment: { TPM2TOOLS_TCTI: tcti } });
  const names = ['quick', 'late', 'long', 'never'];
  const from = { 'allow-plaintext': true, 'max-size': '64KiB' };
  const volumes = names.map((name) => [name, { url: `http://127.0.0.1:${keys.port}/${name}`, ...from }]);
  stage.configure({ volumes: Object.fromEntries(volumes) });
  stage.put('sealed', byTpm);
  return stage;
}

/** Connects as systemd does, and leaves the rest to the test. @returns the descriptor */
function connectTo(stage: Stage, volumeOrAddress: string | Buffer): number {
  return connectFrom(addressFor(volumeOrAddress), stage.path);
}

/** How the one handler ends. @param bytes what its client got */
async function ends(t: Test, title: string, stage: Stage, outcome: Outcome, bytes: Buffer = Buffer.alloc(0)) {
  const status = await stage.ended();
  comesTo(t, title, { bytes, status, lines: stage.journal.splice(0) }, outcome);
  t.same(processesWith(tpm.tcti), [], `${title}: no process is left`);
}

/** The TPM does nothing between the two: whoever asked it something waits. */
const tpmPid = () => Number(readFileSync(join(dirname(tpm.log), 'pid'), 'utf8'));
const freeze = () => process.kill(tpmPid(), 'SIGSTOP');
const thaw = () => process.kill(tpmPid(), 'SIGCONT');

/** Resolves with the handler's process id once one of its tools asks the frozen TPM. */
async function handlerInSequence(stage: Stage): Promise<number> {
  const pid = await stage.started();
  while (processesWith(tpm.tcti).length < 2) await pause(10);
  return pid;
}

async function readOneByte(fd: number): Promise<void> {
  for (;;) {
    try {
      readSync(fd, Buffer.alloc(1));
      return;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EAGAIN') throw thrown;
    }
    await pause(10);
  }
}

const gone = (volume: string): Outcome => ({
  status: 5,
  line: new RegExp(`^${volume}: the client went away`),
  gets: 'nothing',
});

/** A megabyte is more than a socket holds for its reader. Begun first and looked at last, as it takes 10 s. */
const idle = (async () => {
  const stage = await stageWithKeys(t, 'none');
  const client = connectTo(stage, Buffer.from('\x001a/unit/x.service/y'));
  await readOneByte(client);
  const status = await stage.ended();
  closeSync(client);
  return { bytes: Buffer.alloc(0), status, lines: stage.journal };
})();

t.test('a client that shuts its writing side at once, as systemd does, is still there', async (t) => {
  const stage = await stageWithKeys(t);
  await stage.shows(t, 'late', 'late', { status: 0, line: /^late: key delivered, /, gets: KEY });
});

t.test('a client that closes at once is no longer worked for', async (t) => {
  const stage = await stageWithKeys(t);
  for (const volume of ['quick', 'never']) {
    closeSync(connectTo(stage, volume));
    await ends(t, volume, stage, gone(volume));
  }
});

t.test('nor is one that closes while the TPM is at work, and what that had begun is undone', async (t) => {
  const stage = await stageWithKeys(t);
  freeze();
  try {
    const client = connectTo(stage, 'sealed');
    await handlerInSequence(stage);
    closeSync(client);
    await pause(500);
  } finally {
    thaw();
  }
  await ends(t, 'sealed', stage, gone('sealed'));
  t.equal(tpm.leftovers(), '');
});

t.test('a client that reads one byte and stops has the rest of the key before it', async (t) => {
  const stage = await stageWithKeys(t);
  const client = connectTo(stage, 'long');
  await readOneByte(client);
  await ends(t, 'long', stage, { status: 0, line: /^long: key delivered, /, gets: 'nothing' });
  closeSync(client);
});

t.test('SIGTERM: the client is refused at once, and the TPM left in order', async (t) => {
  const stage = await stageWithKeys(t);
  const stopped = (volume: string): Outcome => ({
    status: 5,
    line: new RegExp(`^${volume}: told to stop before the key was there$`),
  });
  const trying = once(asked, '/never');
  const never = stage.ask('never');
  await trying;
  process.kill(await stage.started(), 'SIGTERM');
  await ends(t, 'between two tries', stage, stopped('never'), await never);

  freeze();
  let sealed: Buffer;
  try {
    const asking = stage.ask('sealed');
    process.kill(await handlerInSequence(stage), 'SIGTERM');
    sealed = await asking;
  } finally {
    thaw();
  }
  await ends(t, 'while the TPM is at work', stage, stopped('sealed'), sealed);
  t.equal(tpm.leftovers(), '');
});

t.test('SIGKILL: the next handler clears away what the last could not', async (t) => {
  const stage = await stageWithKeys(t);
  freeze();
  const cut = stage.ask('sealed');
  try {
    process.kill(await handlerInSequence(stage), 'SIGKILL');
  } finally {
    thaw();
  }
  t.equal((await cut).length, 0);
  await stage.ended();
  while (processesWith(tpm.tcti).length > 0) await pause(10);
  t.not(tpm.leftovers(), '', 'the tool had made a session, and nobody was left to flush it');
  await stage.shows(t, 'next', 'sealed', {
    status: 0,
    line: /^sealed: key delivered, opened by tpm2 in \d+ ms$/,
    gets: KEY,
  });
  t.equal(tpm.leftovers(), '');
});

t.test('and with more than a socket holds it is not waited for for ever', async (t) => {
  const line = /^x\.service\/y: this socket serves volumes, not service credentials/;
  comesTo(t, 'idle', await idle, { status: 4, line, gets: 'nothing' });
});
