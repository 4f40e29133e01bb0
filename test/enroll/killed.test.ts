import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DEFAULT_PROGRAM } from '../support/activation.ts';
import { BY_STDIN, type Machine, machineWith } from '../support/enrolled.ts';
import { opens, PASSPHRASE } from '../support/luks.ts';
import { run } from '../support/run.ts';
import { startTang } from '../support/tang.ts';

// Some fifty times two commands and a handler, on cores that other tests share.
t.setTimeout(1_800_000);

const tang = await startTang(t);
const SMALL = ['--luks2-keyslots-size', '2m', '--luks2-metadata-size', '16k'];
const [NODE = '', ...PROGRAM] = DEFAULT_PROGRAM;
const KILL_AT = join(import.meta.dirname, '../support/kill-at.ts');

interface Life {
  readonly command: string;
  readonly args: readonly string[];
  /** More for the one that is killed, by which it fails in its last step: then it is killed while it undoes, too. */
  readonly failing?: readonly string[];
  /** What has been done before. */
  readonly before: readonly string[] | null;
  /** The disk once the command has been repeated. */
  readonly after: RegExp;
  /** The socket opened it before, and must do so at any moment. */
  readonly socketOpens: boolean;
  readonly socketOpensAfter: boolean;
}

/** Kills the command before each thing that it does, from the same disk each time. @returns how many there were */
async function killEverywhere(t: Test, life: Life): Promise<number> {
  const machine = await machineWith(t, {}, SMALL);
  if (life.before !== null) {
    const { status, stderr } = await machine.command('enroll', [...life.before, ...BY_STDIN]);
    t.equal(status, 0, stderr);
  }
  const disk = diskOf(t, machine);
  const points = await killedAt(machine, life, 0);
  t.equal(points.status, life.failing === undefined ? 0 : 4, 'not killed, it ends');
  for (const [index, name] of points.reached.entries()) {
    disk.restore();
    const title = `${life.command}, killed before ${index + 1}. ${name}`;
    t.equal((await killedAt(machine, life, index + 1)).status, null, title);
    t.ok(opens(machine.image.path, PASSPHRASE), `${title}: the passphrase opens it`);
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
async function killedAt(machine: Machine, { command, args, failing = [] }: Life, at: number) {
  const log = `${machine.image.path}.log`;
  rmSync(log, { force: true });
  const places = ['--etc', machine.etc, '--crypttab', machine.crypttab];
  const socket = command === 'enroll' ? ['--socket', machine.path] : [];
  const all = [command, 'data', ...places, ...socket, ...args, ...failing];
  const program = [NODE, '--import', KILL_AT, ...PROGRAM, ...all];
  const environment = { KILL_AT: String(at), KILL_LOG: log };
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

const POLICY = ['--tang', tang.url, '-y'];
let all = 0;

t.test('enroll', async (t) => {
  all += await killEverywhere(t, {
    command: 'enroll',
    args: [...POLICY, ...BY_STDIN],
    before: null,
    after: /^keyslots 0,1 tokens 0 enrolled 1 unfinished no$/,
    socketOpens: false,
    socketOpensAfter: true,
  });
});

t.test('enroll, while it undoes what it did', async (t) => {
  const another = await machineWith(t);
  all += await killEverywhere(t, {
    command: 'enroll',
    args: [...POLICY, ...BY_STDIN],
    failing: ['--socket', another.path],
    before: null,
    after: /^keyslots 0,1 tokens 0 enrolled 1 unfinished no$/,
    socketOpens: false,
    socketOpensAfter: true,
  });
});

t.test('enroll --file, over one that is there', async (t) => {
  all += await killEverywhere(t, {
    command: 'enroll',
    args: [...POLICY, '--file', ...BY_STDIN],
    before: [...POLICY, '--file'],
    after: /^keyslots 0,1,2 tokens none enrolled 2 unfinished no$/,
    socketOpens: true,
    socketOpensAfter: true,
  });
});

t.test('rotate', async (t) => {
  all += await killEverywhere(t, {
    command: 'rotate',
    args: [],
    before: POLICY,
    // The first one may have been through: then this one was the second.
    after: /^keyslots 0,[12] tokens [01] enrolled 1 unfinished no$/,
    socketOpens: true,
    socketOpensAfter: true,
  });
});

t.test('reseal', async (t) => {
  all += await killEverywhere(t, {
    command: 'reseal',
    args: [],
    before: POLICY,
    after: /^keyslots 0,1 tokens [01] enrolled 1 unfinished no$/,
    socketOpens: true,
    socketOpensAfter: true,
  });
});

t.test('unenroll', async (t) => {
  all += await killEverywhere(t, {
    command: 'unenroll',
    args: BY_STDIN,
    before: POLICY,
    after: /^keyslots 0 tokens none enrolled 0 unfinished no$/,
    socketOpens: false,
    socketOpensAfter: false,
  });
});

t.test('that was everywhere', async (t) => {
  t.ok(all >= 25, `${all} points`);
});
