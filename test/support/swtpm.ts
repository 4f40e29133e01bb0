import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { lockName } from '../../src/tpm/sequence.ts';
import { portToKeep } from './ports.ts';

/** A software TPM without a resource manager, on two adjacent ports of 127.0.0.1. */
export interface Swtpm {
  /** For TPM2TOOLS_TCTI. */
  readonly tcti: string;
  /** Everything that swtpm read and wrote, in hexadecimal (level 20). */
  readonly log: string;
  /** Size of the log: what `commandCount` and `traffic` may begin after. */
  mark(): number;
  /** TPM commands that were received since `mark`. */
  commandCount(mark?: number): number;
  /** The bytes of all commands and responses since `mark`. */
  traffic(mark?: number): Buffer;
  /** Runs a program with TPM2TOOLS_TCTI set, to its end; throws when it fails. @returns its standard output */
  run(program: string, args: readonly string[], input?: string | Buffer): Buffer;
  /** Changes a PCR, in the banks sha1 and sha256. */
  extend(pcr: number): void;
  /** Handles of sessions, in memory and saved, and of loaded objects. */
  leftovers(): string;
  /** Frees what other programs leave, as `clevis encrypt` does with its policy sessions. */
  flush(): void;
  /** Switches off and on again: PCRs, sessions and loaded objects are gone, keys are not. */
  restart(): Promise<void>;
  /** Switches off; the folder stays until `remove`. */
  stop(): Promise<void>;
  /** Switches off and removes every trace. */
  remove(): Promise<void>;
}

/** @param state folder of a TPM's state to go on with, a copy of it; a new TPM without */
export async function startSwtpm(state?: string): Promise<Swtpm> {
  if (!existsSync('/usr/bin/swtpm')) throw new Error('/usr/bin/swtpm is missing: install the package swtpm');
  const folder = mkdtempSync(join(tmpdir(), 'swtpm-'));
  mkdirSync(join(folder, 'state'));
  if (state !== undefined) cpSync(state, join(folder, 'state'), { recursive: true });
  let { child, port } = await startOnFreePorts(folder);
  const tcti = `swtpm:host=127.0.0.1,port=${port}`;
  const log = join(folder, 'log');
  const textSince = (mark: number) => readFileSync(log).subarray(mark).toString('latin1');
  const run = (program: string, args: readonly string[], input: string | Buffer = '') =>
    execFileSync(program, args, {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', TPM2TOOLS_TCTI: tcti },
      input,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  const stop = () => end(child);
  return {
    tcti,
    log,
    mark: () => statSync(log).size,
    commandCount: (mark = 0) => textSince(mark).split('SWTPM_IO_Read').length - 1,
    traffic: (mark = 0) => bytesIn(textSince(mark)),
    run,
    extend(pcr) {
      const digest = (bytes: number) => '11'.repeat(bytes);
      run('tpm2_pcrextend', [`${pcr}:sha1=${digest(20)},sha256=${digest(32)}`]);
    },
    leftovers: () =>
      ['handles-loaded-session', 'handles-saved-session', 'handles-transient']
        .map((capability) => run('tpm2_getcap', [capability]).toString())
        .join(''),
    flush() {
      for (const kind of ['-t', '-l', '-s']) run('tpm2_flushcontext', [kind]);
    },
    async restart() {
      // Without it each start counts as a failed authorization, once a key with that protection was used.
      if (child.exitCode === null && child.signalCode === null) run('tpm2_shutdown', ['-c']);
      await stop();
      child = await start(folder, port);
    },
    stop,
    async remove() {
      await stop();
      rmSync(folder, { recursive: true });
      if (process.getuid?.() === 0) rmSync(`/run/fetch-luks-key/${lockName(tcti)}.lock`, { force: true });
    },
  };
}

/** Ports that were free a moment ago may be taken by another test: then swtpm ends, and other ports are tried. */
async function startOnFreePorts(folder: string): Promise<{ child: ChildProcess; port: number }> {
  for (let tries = 1; ; tries++) {
    // libtss2's tcti-swtpm expects the control channel one port after the TPM's.
    const port = await portToKeep(2);
    try {
      return { child: await start(folder, port), port };
    } catch (error) {
      if (tries === 20) throw error;
    }
  }
}

async function start(folder: string, port: number): Promise<ChildProcess> {
  const pidFile = join(folder, 'pid');
  rmSync(pidFile, { force: true });
  const child = spawn(
    '/usr/bin/swtpm',
    [
      ...['socket', '--tpm2', '--tpmstate', `dir=${join(folder, 'state')}`],
      ...['--server', `type=tcp,port=${port},bindaddr=127.0.0.1`],
      ...['--ctrl', `type=tcp,port=${port + 1},bindaddr=127.0.0.1`],
      ...['--flags', 'not-need-init,startup-clear', '--log', `file=${join(folder, 'log')},level=20`],
      ...['--pid', `file=${pidFile}`],
    ],
    { stdio: 'ignore' },
  );
  // It writes its process id once it listens on both ports.
  while (!existsSync(pidFile) || readFileSync(pidFile).length === 0) {
    if (child.exitCode !== null) throw new Error(`swtpm ended with ${child.exitCode}, port ${port}`);
    await pause(5);
  }
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once('exit', done));
  child.kill();
  await gone;
}

/** ` SWTPM_IO_Read: length 22`, then lines of ` 80 01 …`; what goes over the control channel is left out. */
function bytesIn(log: string): Buffer {
  let isTpm = false;
  const hex: string[] = [];
  for (const line of log.split('\n')) {
    if (/^ (?:[0-9A-F]{2} )+$/.test(line)) {
      if (isTpm) hex.push(line.replaceAll(' ', ''));
    } else {
      isTpm = line.startsWith(' SWTPM_IO_');
    }
  }
  return Buffer.from(hex.join(''), 'hex');
}
