import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { sealerWith } from '../../test/support/sealing.ts';
import { startSwtpm } from '../../test/support/swtpm.ts';
import { HarnessError } from './command.ts';
import type { GuestFile } from './guest.ts';

const START_MS = 10_000;

export interface EmulatedTpm {
  /** UNIX socket that QEMU is to connect to. */
  readonly socket: string;
  stop(): Promise<void>;
}

/** QEMU's emulated TPM. It ends with QEMU, or when told to. @param folder for its log */
export async function startEmulatedTpm(step: string, folder: string, state: string): Promise<EmulatedTpm> {
  // The folder's own path may be longer than a socket's address, 107 bytes (unix(7)).
  const place = mkdtempSync(join(tmpdir(), 'boot-test-'));
  const socket = join(place, 'tpm');
  const log = join(folder, 'swtpm.log');
  const child = spawn(
    'swtpm',
    [
      ...['socket', '--tpm2', '--tpmstate', `dir=${state}`, '--ctrl', `type=unixio,path=${socket}`],
      ...['--flags', 'startup-clear', '--terminate', '--log', `file=${log}`],
    ],
    { stdio: 'ignore' },
  );
  const stop = async () => {
    if (failure === null) await end(child);
    rmSync(place, { recursive: true });
  };
  let failure: Error | null = null;
  child.once('error', (error) => {
    failure = error;
  });
  for (const deadline = performance.now() + START_MS; !(await answers(socket)); await pause(20)) {
    if (failure !== null || child.exitCode !== null || performance.now() > deadline) {
      await stop();
      throw new HarnessError(step, `swtpm: ${failure ?? 'expected an answer on its socket'}`, log);
    }
  }
  return { socket, stop };
}

/** swtpm_ioctls(3): 32 bits, big-endian. */
const CMD_GET_CAPABILITY = Uint8Array.of(0, 0, 0, 1);

/** The socket is there before swtpm opens its state, and is removed when it can't: what counts is an answer. */
function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const client = connect(socket, () => client.write(CMD_GET_CAPABILITY));
    client.setTimeout(1000, () => client.destroy());
    client.on('error', () => {});
    client.once('data', () => {
      resolve(true);
      client.destroy();
    });
    client.once('close', () => resolve(false));
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill();
  await gone;
}

/**
 * PCR 7 of a machine that boots by SeaBIOS and QEMU's `-kernel`: nothing but the event that separates firmware from
 * what comes after it (TCG PC Client Platform Firmware Profile §3.3.4.8, EV_SEPARATOR).
 */
export const PCR_7 = createHash('sha256')
  .update(Buffer.alloc(32))
  .update(createHash('sha256').update(Buffer.alloc(4, 0xff)).digest())
  .digest();

/** A TPM that sealed keys for a guest before the guest's first boot. */
export interface MadeTpm<Name extends string> {
  /** For `Guest.tpm`. */
  readonly state: string;
  /** Sealed keys, by the names that were given. */
  readonly sealed: Readonly<Record<Name, string>>;
}

export type Seal = ReturnType<typeof sealerWith>;

/** @param folder of the scenario, or in it @param work seals what the guest is to find; the TPM answers at `tcti` */
export async function makeTpm<Name extends string>(
  t: { teardown(action: () => unknown): unknown },
  folder: string,
  work: (seal: Seal, tcti: string) => Promise<Record<Name, string>>,
): Promise<MadeTpm<Name>> {
  const tpm = await startSwtpm();
  t.teardown(() => tpm.remove());
  const locks = join(folder, 'locks');
  mkdirSync(locks);
  const sealed = await work(sealerWith(tpm.tcti, locks), tpm.tcti);
  tpm.run('tpm2_shutdown', ['-c']);
  await tpm.stop();
  return { state: join(dirname(tpm.log), 'state'), sealed };
}

/** Configuration of the pin `tpm2`: to what PCR 7 is in the guest. */
export const IN_THE_GUEST = { pcr_ids: '7', pcr_digest: PCR_7.toString('base64url') };

/** The unit to enable for another firmware: from this boot on PCR 7 is something else before anybody asks for a key. */
export const FIRMWARE_UPDATE = 'firmware-update.service';
export const firmwareUpdateFiles: Readonly<Record<string, GuestFile>> = {
  [`/etc/systemd/system/${FIRMWARE_UPDATE}`]: {
    content: `[Unit]
DefaultDependencies=no
Before=cryptsetup-pre.target
Wants=cryptsetup-pre.target
Requires=dev-tpmrm0.device
After=dev-tpmrm0.device
[Service]
Type=oneshot
ExecStart=/usr/bin/tpm2_pcrextend -T device:/dev/tpmrm0 7:sha256=${'11'.repeat(32)}
[Install]
WantedBy=sysinit.target
`,
  },
};
