import { asAppError, failureLine } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { ServerSettings } from '../config/server.ts';
import { ask, connectTo } from '../remote/key-server.ts';
import * as wire from '../wire/machine.ts';
import type { KeepaliveWorld } from './world.ts';

/** Units that end in another boot of this machine (systemd.special(7)). A soft reboot is none: its boot id stays. */
const REBOOTS = ['reboot.target', 'kexec.target'];

/**
 * Where fetch-luks-key-keepalive.service leaves what `systemctl list-jobs` has said: who talks to the network cannot
 * reach systemd.
 */
export const JOBS_FILE = '/run/fetch-luks-key-act/jobs';

/** Whether systemd is on its way to another boot, and not to switching the machine off. @param jobs of `JOBS_FILE` */
export function isRebooting(jobs: string): boolean {
  return jobs.split('\n').some((line) => {
    // JOB UNIT TYPE STATE
    const [, unit = '', type] = line.trim().split(/ +/);
    return type === 'start' && REBOOTS.includes(unit);
  });
}

/**
 * Tells one server that this machine is about to reboot, so that it stays armed until it is back.
 * @returns whether the server knows; if not, the journal has the reason
 */
export async function announceReboot(
  name: string,
  { url, keys, identity }: ServerSettings,
  { serverWorld, leftProof, journal }: KeepaliveWorld,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const proof = await leftProof(keys.names);
    if (proof === null) {
      journal.info(`${name}: this reboot is not announced: no key of this server was opened since the last`);
      return true;
    }
    const [own, boot] = await Promise.all([serverWorld.identity(identity, signal), serverWorld.bootId()]);
    const connection = await connectTo({ url, keys }, own, serverWorld.connector, signal);
    try {
      const body = { boot, proof, 'within-ms': limits.announcedRebootMs };
      await ask(connection, 'POST', '/v1/expect', body, wire.expect.response, signal);
    } finally {
      connection.close();
    }
    journal.info(`${name}: this reboot is announced`);
    return true;
  } catch (thrown) {
    journal.warning(`${name}: this reboot is not announced: ${reasonOf(thrown)}`);
    return false;
  }
}

function reasonOf(thrown: unknown): string {
  const error = asAppError(thrown);
  if (error.cause === 'count-used') {
    return 'the server does not grant it: one may be announced four times a day, and only where the server allows it';
  }
  if (error.code === 'stopped') return `not within ${limits.announceMs} ms`;
  return failureLine(error);
}
