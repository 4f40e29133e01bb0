import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { DEFAULT_PROGRAM } from './activation.ts';
import { type Machine, machineWith, takesSocket } from './enrolled.ts';
import { opens, PASSPHRASE } from './luks.ts';
import { run } from './run.ts';

const SMALL = ['--luks2-keyslots-size', '2m', '--luks2-metadata-size', '16k'];
const [NODE = '', ...PROGRAM] = DEFAULT_PROGRAM;
const KILL_AT = join(import.meta.dirname, 'kill-at.ts');

/** A command, and what must hold whenever it is killed. */
export interface Life {
  readonly command: string;
  readonly args: readonly string[];
  /** For it, and for the handler: TPM2TOOLS_TCTI. */
  readonly environment?: Record<string, string>;
  /** More for the one that is killed, by which it fails in its last step: then it is killed while it undoes, too. */
  readonly failing?: readonly string[];
  /** What has been done before. */
  before(machine: Machine): Promise<void> | void;
  /** What opened it by itself before, as long as crypttab does not name the socket. */
  opensAsBefore?(machine: Machine): Promise<boolean> | boolean;
  /** The disk once the command has been repeated. */
  readonly after: RegExp;
  /** The socket opened it before, and must do so at any moment. */
  readonly socketOpens: boolean;
  readonly socketOpensAfter: boolean;
}

/** Kills the command before each thing that it does, from the same disk each time. @returns how many there were */
export async function killEverywhere(t: Test, life: Life): Promise<number> {
  const machine = await machineWith(t, life.environment ?? {}, SMALL);
  await life.before(machine);
  const disk = diskOf(t, machine);
  const points = await killedAt(machine, life, 0);
  t.equal(points.status, life.failing === undefined ? 0 : 4, 'not killed, it ends');
  for (const [index, name] of points.reached.entries()) {
    disk.restore();
    const title = `${life.command}, killed before ${index + 1}. ${name}`;
    t.equal((await killedAt(machine, life, index + 1)).status, null, title);
    t.ok(opens(machine.image.path, PASSPHRASE), `${title}: the passphrase opens it`);
    if (life.opensAsBefore !== undefined) {
      const isBySocket = readFileSync(machine.crypttab, 'utf8').includes(` ${machine.path} `);
      const opensAtBoot = isBySocket ? machine.opensBySocket() : life.opensAsBefore(machine);
      t.ok(await opensAtBoot, `${title}: what crypttab names opens it`);
    }
    if (life.socketOpens) t.ok(await machine.opensBySocket(), `${title}: the socket opens it`);
    const { status, stderr } = await machine.command(life.command, life.args);
    t.equal(status, 0, `${title}: the next one goes`, { stderr });
    t.match(machine.state(), life.after, `${title}: and leaves nothing behind`, { stderr });
    t.ok(opens(machine.image.path, PASSPHRASE), `${title}: the passphrase opens it in the end`);
    t.equal(await machine.opensBySocket(), life.socketOpensAfter, `${title}: the socket in the end`);
  }
  return points.reached.length;
}

/** @param at 0 = not at all */
async function killedAt(machine: Machine, life: Life, at: number) {
  const { command, args, failing = [] } = life;
  const log = `${machine.image.path}.log`;
  rmSync(log, { force: true });
  const places = ['--etc', machine.etc, '--crypttab', machine.crypttab];
  const socket = takesSocket(command) ? ['--socket', machine.path] : [];
  const all = [command, 'data', ...places, ...socket, ...args, ...failing];
  const program = [NODE, '--import', KILL_AT, ...PROGRAM, ...all];
  const environment = { ...life.environment, KILL_AT: String(at), KILL_LOG: log };
  const { status } = await run(program, Buffer.from(PASSPHRASE), environment);
  return { status, reached: readFileSync(log, 'utf8').split('\n').slice(0, -1) };
}

/** The machine's disk as it is now. */
function diskOf(t: Test, { image, etc, crypttab }: Machine) {
  const copies = t.testdir({});
  const paths = [image.path, etc, crypttab, `${crypttab}.before-enroll`];
  const copy = (from: string, to: string) => {
    rmSync(to, { recursive: true, force: true });
    if (existsSync(from)) execFileSync('cp', ['-a', '--sparse=always', from, to]);
  };
  const each = paths.map((path, index) => [path, join(copies, String(index))] as const);
  for (const [path, kept] of each) copy(path, kept);
  return {
    restore() {
      for (const [path, kept] of each) copy(kept, path);
    },
  };
}
