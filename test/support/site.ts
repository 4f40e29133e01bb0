import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { type Activated, activate, DEFAULT_PROGRAM } from './activation.ts';
import type { Ended } from './command-line.ts';
import { until } from './keepalive-machine.ts';
import { KEY_SERVER } from './key-server.ts';
import { makeImage, opens, PASSPHRASE } from './luks.ts';
import { privateMounts } from './private-mounts.ts';
import { run } from './run.ts';

const root = resolve(import.meta.dirname, '../..');
const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });

/** Network namespaces on one bridge, which no packet leaves. */
export interface Network {
  /** @returns the namespace's name */
  plug(name: string, address: string): string;
  /** Takes an address from one, and gives it to another. */
  move(address: string, from: string, to: string): void;
}

export function ownNetwork(t: Test): Network {
  const spaces: string[] = [];
  const space = (name: string) => {
    const own = `flk-${process.pid}-${name}`;
    ip('netns', 'add', own);
    spaces.push(own);
    return own;
  };
  t.teardown(() => {
    for (const own of spaces) ip('netns', 'del', own);
  });
  const hub = space('hub');
  ip('-n', hub, 'link', 'add', 'br0', 'type', 'bridge');
  ip('-n', hub, 'link', 'set', 'br0', 'up');
  return {
    plug(name, address) {
      const own = space(name);
      ip(
        '-n',
        hub,
        'link',
        'add',
        'name',
        `port-${name}`,
        'type',
        'veth',
        'peer',
        'name',
        'eth0',
        'netns',
        own,
      );
      ip('-n', hub, 'link', 'set', 'dev', `port-${name}`, 'master', 'br0', 'up');
      ip('-n', own, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
      ip('-n', own, 'link', 'set', 'eth0', 'up');
      return own;
    },
    move(address, from, to) {
      const change = (verb: string, name: string) =>
        ip('-n', `flk-${process.pid}-${name}`, 'addr', verb, `${address}/24`, 'dev', 'eth0');
      change('del', from);
      change('add', to);
      // Who talked to the one before has its link address still.
      for (const own of spaces) ip('-n', own, 'neigh', 'flush', 'all');
    },
  };
}

/** A host with an address, /run, boots, a key server and an encrypted volume `data` of its own. */
export interface Host {
  readonly name: string;
  readonly url: string;
  readonly etc: string;
  readonly image: string;
  /** `fetch-luks-key ARGS` there; adds --etc, --crypttab and --socket where `site`, `enroll` and others take them. */
  site(args: readonly string[], input?: string): Promise<Ended>;
  enroll(...args: string[]): Promise<Ended>;
  command(args: readonly string[], input?: string): Promise<Ended>;
  /** `luks-key-server ARGS` there. */
  server(...args: string[]): Promise<Ended>;
  /** A boot: another boot id, an empty /run, its server. */
  on(listen?: string): Promise<void>;
  off(): Promise<void>;
  /** What a handler behind a real socket answers is a key of the image; it waits for as long as config.yaml says. */
  opens(): Promise<boolean>;
  /** Of its handlers. */
  journal(): readonly string[];
}

export async function hostOn(t: Test, network: Network, name: string, address: string): Promise<Host> {
  // Not below /tmp, of which the host has one of its own.
  mkdirSync(join(root, '.tap'), { recursive: true });
  const folder = mkdtempSync(join(root, `.tap/site-${name}-`));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const etc = join(folder, 'etc');
  mkdirSync(etc);
  const image = makeImage(folder, 'image');
  const crypttab = join(folder, 'crypttab');
  writeFileSync(crypttab, `data ${image.path} none luks\n`);
  const machine = machineIn(folder, network.plug(name, address));
  const socket = join(folder, 'operator.sock');
  const url = `https://${address}:7443`;
  const tell = async (program: readonly string[], args: readonly string[], input = ''): Promise<Ended> => {
    const { stdout, ...ended } = await run([...machine.wrapper, ...program, ...args], Buffer.from(input), {});
    return { ...ended, stdout: stdout.toString() };
  };
  const places = ['--etc', etc, '--crypttab', crypttab];
  const keySocket: Activated = await activate(places, {
    program: [...machine.wrapper, ...DEFAULT_PROGRAM],
    folder: mkdtempSync(join(folder, 's-')),
  });
  t.teardown(() => keySocket.stop());
  let server: ChildProcess | null = null;
  const off = async () => {
    const running = server;
    server = null;
    if (running === null) return;
    const ended = new Promise((done) => running.once('exit', done));
    running.kill('SIGKILL');
    await ended;
  };
  t.teardown(off);
  return {
    name,
    url,
    etc,
    image: image.path,
    site: ([action = '', ...args], input) => {
      const all = ['init', 'reshare'].includes(action) ? places : ['--etc', etc];
      const own = action === 'reshare' ? [] : ['--socket', socket];
      return tell(DEFAULT_PROGRAM, ['site', action, ...all, ...own, ...args], input);
    },
    enroll: (...args) =>
      tell(
        DEFAULT_PROGRAM,
        ['enroll', 'data', ...places, '--socket', keySocket.path, '--unlock-key-file', '-', '-y', ...args],
        PASSPHRASE,
      ),
    command: (args, input) => tell(DEFAULT_PROGRAM, args, input),
    server: (...args) => tell(KEY_SERVER, [...args, '--socket', socket]),
    async on(listen = `${address}:7443`) {
      machine.boot();
      const state = join(folder, 'state');
      mkdirSync(state, { recursive: true });
      const args = ['serve', '--listen', listen, '--state', state, '--socket', socket];
      server = await started([...machine.wrapper, ...KEY_SERVER, ...args]);
    },
    off,
    opens: async () => {
      // Others ask there too, so it is its own line that tells of a handler's end.
      const seen = keySocket.journal.length;
      const bytes = await keySocket.ask('data');
      await until('the handler has ended', () => keySocket.journal.length > seen);
      return opens(image.path, bytes);
    },
    journal: () => keySocket.journal,
  };
}

/** Program and arguments that put a command into the host; what a boot changes there. */
function machineIn(folder: string, space: string): { wrapper: readonly string[]; boot(): void } {
  const mounts = join(folder, 'mounts');
  mkdirSync(mounts);
  const { wrapper } = privateMounts(mounts);
  const bootId = join(folder, 'boot_id');
  const script = join(folder, 'booted');
  const target = '/proc/sys/kernel/random/boot_id';
  writeFileSync(script, `#!/bin/sh\nmount --bind ${bootId} ${target} && exec "$@"\n`);
  chmodSync(script, 0o755);
  const boot = () => {
    writeFileSync(bootId, `${randomUUID()}\n`);
    rmSync(join(mounts, '_run/fetch-luks-key'), { recursive: true, force: true });
  };
  boot();
  return { wrapper: ['/usr/sbin/ip', 'netns', 'exec', space, ...wrapper, script], boot };
}

async function started([program = '', ...args]: readonly string[]): Promise<ChildProcess> {
  const child = spawn(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'] },
  });
  const lines: string[] = [];
  await new Promise<void>((ready, failed) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      lines.push(line);
      if (line.includes('serving machines')) ready();
    });
    child.once('exit', (status) =>
      failed(new Error(`luks-key-server ended with ${status}: ${lines.join('\n')}`)),
    );
  });
  child.removeAllListeners('exit');
  return child;
}

/** How long a volume's pins are tried, in a test of what does not open. */
export function givesUpAfter(host: Host, duration: string): void {
  const path = join(host.etc, 'config.yaml');
  const text = readFileSync(path, 'utf8').replace(/^volumes:[\s\S]*/m, '');
  writeFileSync(
    path,
    `${text}volumes:\n  data: { give-up-after: ${duration}, wait-for-allow: ${duration} }\n`,
  );
}
