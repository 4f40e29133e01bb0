import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { activate, DEFAULT_PROGRAM } from './activation.ts';
import type { KeyServerProcess } from './key-server.ts';
import { privateMounts } from './private-mounts.ts';
import { run } from './run.ts';

const root = resolve(import.meta.dirname, '../..');
const KEY = Buffer.from('opened, and so alive');

/** A machine with /run of its own, that has joined, sealed `data` and can keep itself alive. */
export async function machine(t: Test, server: KeyServerProcess, ...policy: string[]) {
  // Not below /tmp, of which the machine has one of its own.
  const folder = mkdtempSync(join(root, '.tap/keepalive-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const own = join(folder, 'etc');
  mkdirSync(join(own, 'volumes'), { recursive: true });
  mkdirSync(join(folder, 'mounts'));
  const mounts = privateMounts(join(folder, 'mounts'));
  const program = [...mounts.wrapper, ...DEFAULT_PROGRAM];
  const tell = async (args: string[], input: string | Buffer) => {
    const ended = await run([...program, ...args, '--etc', own], Buffer.from(input), {});
    if (ended.status !== 0) throw new Error(ended.stderr);
    return ended.stdout;
  };
  await tell(['join', '--name', 'home'], await server.invite('nas', ...policy));
  writeFileSync(join(own, 'volumes/data.jwe'), await tell(['seal', 'remote', '{"server":"home"}'], KEY));
  const socket = await activate(['--etc', own], { program });
  t.teardown(() => socket.stop());
  const inside = (path: string) => join(folder, 'mounts/_run', path);
  return {
    own,
    tell,
    opens: async () => (await socket.askAlone('data')).bytes.equals(KEY),
    proofs: () => existsSync(inside('fetch-luks-key/alive')),
    /** As a boot does in which no key was opened. */
    forget: () => rmSync(inside('fetch-luks-key/alive'), { recursive: true }),
    /** @param jobs what systemd is doing, as its own client lists it and the unit leaves it */
    announce: async (jobs: string) => {
      mkdirSync(inside('fetch-luks-key-act'), { recursive: true });
      writeFileSync(inside('fetch-luks-key-act/jobs'), jobs);
      return await run([...program, 'announce-reboot', '--etc', own], Buffer.alloc(0), {});
    },
    ordered: (verdict: string) => existsSync(inside(`fetch-luks-key/act/${verdict}`)),
    /** Starts the daemon. */
    keepalive(itself = DEFAULT_PROGRAM): { child: ChildProcess; lines: string[] } {
      const [first = '', ...rest] = [...mounts.wrapper, ...itself, 'keepalive', '--etc', own];
      const child = spawn(first, rest, {
        stdio: ['ignore', 'ignore', 'pipe'],
        // As systemd asks for a sign of life.
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', WATCHDOG_USEC: '180000000' },
      });
      const lines: string[] = [];
      createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
      t.teardown(() => child.kill('SIGKILL'));
      return { child, lines };
    },
  };
}

/** Patient, as others use the processors too. */
export async function until(title: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition()); tries++) {
    if (tries > 300) throw new Error(`not within a minute: ${title}`);
    await pause(200);
  }
}
