import { type ChildProcess, spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { activate, DEFAULT_PROGRAM } from '../support/activation.ts';
import { type KeyServerProcess, startKeyServer } from '../support/key-server.ts';
import { privateMounts } from '../support/private-mounts.ts';
import { run } from '../support/run.ts';

// Leases of some seconds, waited for.
t.setTimeout(300_000);

const root = resolve(import.meta.dirname, '../..');
const KEY = Buffer.from('opened, and so alive');

/** A machine with /run of its own, that has joined, sealed `data` and can keep itself alive. */
async function machine(t: Test, server: KeyServerProcess, ...policy: string[]) {
  // Not below /tmp, of which the machine has one of its own.
  const folder = mkdtempSync(join(root, '.tap/keepalive-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const own = join(folder, 'etc');
  mkdirSync(join(own, 'volumes'), { recursive: true });
  mkdirSync(join(folder, 'mounts'));
  const program = [...privateMounts(join(folder, 'mounts')).wrapper, ...DEFAULT_PROGRAM];
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
    opens: async () => (await socket.askAlone('data')).bytes.equals(KEY),
    proofs: () => existsSync(inside('fetch-luks-key/alive')),
    /** As a boot does in which no key was opened. */
    forget: () => rmSync(inside('fetch-luks-key/alive'), { recursive: true }),
    ordered: (verdict: string) => existsSync(inside(`fetch-luks-key/act/${verdict}`)),
    /** Starts the daemon. */
    keepalive(): { child: ChildProcess; lines: string[] } {
      const [first = '', ...rest] = [...program, 'keepalive', '--etc', own];
      const child = spawn(first, rest, {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      });
      const lines: string[] = [];
      createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
      t.teardown(() => child.kill('SIGKILL'));
      return { child, lines };
    },
  };
}

async function statusOf(server: KeyServerProcess): Promise<string> {
  const { stdout } = await server.command('list', '--json');
  return (JSON.parse(stdout) as { machines: { status: string }[] }).machines[0]?.status ?? 'none';
}

async function until(title: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition()); tries++) {
    if (tries > 300) throw new Error(`not within a minute: ${title}`);
    await pause(200);
  }
}

t.test('the server’s log is put back, and goes on otherwise: the machine tells', async (t) => {
  const server = await startKeyServer(t);
  // Longer than the server is away, so that the log says nothing of that.
  const nas = await machine(t, server, '--lease', '21s');
  const heads = join(nas.own, 'audit-heads/home');
  const lastHead = () => {
    const lines = existsSync(heads) ? readFileSync(heads, 'utf8').trimEnd().split('\n') : [];
    return (JSON.parse(lines.at(-1) ?? '{}') as { seq?: number }).seq ?? 0;
  };
  const { lines } = nas.keepalive();
  await until('a first head', () => lastHead() > 0);
  t.equal(statSync(heads).mode & 0o777, 0o600);

  await server.stop();
  const copy = `${server.state}.copy`;
  t.teardown(() => rmSync(copy, { recursive: true, force: true }));
  cpSync(server.state, copy, { recursive: true });
  await server.start();
  const before = lastHead();
  await server.command('expect', 'nas', '--within', '1m');
  await until('a later head', () => lastHead() === before + 1);

  await server.stop();
  rmSync(server.state, { recursive: true });
  cpSync(copy, server.state, { recursive: true });
  await server.start();
  t.ok(await server.invite('other'));
  const alert = /home: major alert: record \d+ of its audit log has changed \(hint: /;
  await until('the alert', () => lines.some((line) => alert.test(line)));
  const audit = await server.command('audit', 'show');
  await until('the server’s own record of it', () => /claim nas .*: audit-head/.test(audit.stdout));
  t.ok(existsSync(`${heads}.before`), 'what it had seen is kept');
  await pause(3000);
  t.equal(lines.filter((line) => alert.test(line)).length, 1, 'once');
});
