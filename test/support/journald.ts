import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { run } from './run.ts';

const JOURNALD = '/lib/systemd/systemd-journald';
const MACHINE_ID = '0123456789abcdef0123456789abcdef';

/** A folder of its own below each, and its own configuration; then it is this process. Arguments: FOLDER */
const START = `set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal "$1/log"
touch /run/systemd/journal/flushed
mount --bind "$1/log" /var/log
mount -t overlay overlay -o "lowerdir=$1/etc:/etc" /etc
exec ${JOURNALD}`;

/** A real systemd-journald that has /run, /var/log and /etc for itself. */
export interface Journald {
  /** Program and arguments before a command, which then sees what it sees. */
  readonly wrapper: string[];
  /** Of its files. */
  readonly folder: string;
  /** Writes an entry with this message. */
  log(message: string): Promise<void>;
  /** Runs journalctl to its end, without throwing. */
  journalctl(...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }>;
}

/** @param settings of journald.conf(5) */
export async function startJournald(
  t: { teardown(action: () => unknown): unknown },
  settings = 'Storage=persistent',
): Promise<Journald> {
  const folder = mkdtempSync(join(tmpdir(), 'journald-'));
  chmodSync(folder, 0o755);
  mkdirSync(`${folder}/etc/systemd/journald.conf.d`, { recursive: true });
  mkdirSync(`${folder}/log/journal/${MACHINE_ID}`, { recursive: true });
  writeFileSync(`${folder}/etc/machine-id`, `${MACHINE_ID}\n`);
  // Not the kernel's log, nor other programs' limits.
  const conf = `[Journal]\nReadKMsg=no\nAudit=no\nRateLimitIntervalSec=0\n${settings}\n`;
  writeFileSync(`${folder}/etc/systemd/journald.conf.d/test.conf`, conf);
  const child = spawn('unshare', ['--mount', '--propagation=private', 'sh', '-c', START, 'sh', folder], {
    stdio: 'ignore',
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  t.teardown(async () => {
    child.kill();
    await ended;
    rmSync(folder, { recursive: true });
  });
  const socket = `/proc/${child.pid}/root/run/systemd/journal/io.systemd.journal`;
  while (!existsSync(socket)) {
    if (child.exitCode !== null) throw new Error(`${JOURNALD} ended with status ${child.exitCode}`);
    await pause(20);
  }
  const wrapper = ['/usr/bin/nsenter', '--mount', '--root', `--target=${child.pid}`];
  const inside = async (program: readonly string[], input = '') => {
    const { status, stdout, stderr } = await run([...wrapper, ...program], Buffer.from(input), {});
    return { status, stdout: stdout.toString(), stderr };
  };
  const journalctl = (...args: string[]) => inside(['journalctl', ...args]);
  return {
    wrapper,
    folder: `${folder}/log/journal/${MACHINE_ID}`,
    journalctl,
    async log(message) {
      const entry = `MESSAGE=${message}\nPRIORITY=5\n`;
      await inside(['socat', '-u', '-', 'UNIX-SENDTO:/run/systemd/journal/socket'], entry);
      await journalctl('--sync');
    },
  };
}
