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
    /** @param jobs what systemd is doing, as its own client lists it */
    announce: async (jobs: string) => {
      const systemctl = join(folder, 'systemctl');
      writeFileSync(systemctl, `#!/bin/sh\n[ "$1" = list-jobs ] && printf '%s' '${jobs}'\n`, { mode: 0o755 });
      const over = ['/bin/sh', '-c', `mount --bind ${systemctl} /usr/bin/systemctl && exec "$@"`, 'sh'];
      const asMachine = [...program.slice(0, -DEFAULT_PROGRAM.length), ...over, ...DEFAULT_PROGRAM];
      return await run([...asMachine, 'announce-reboot', '--etc', own], Buffer.alloc(0), {});
    },
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

t.test('who has opened its key stays armed, and no other', async (t) => {
  const server = await startKeyServer(t);
  const nas = await machine(t, server, '--lease', '6s', '--boot-grace', '6s');
  t.ok(nas.proofs(), 'who seals a key has it');
  nas.forget();
  const silent = nas.keepalive();
  await pause(8000);
  t.equal(await statusOf(server), 'locked', 'without a proof the lease ends');
  silent.child.kill('SIGTERM');
  await server.command('allow', 'nas');
  t.ok(await nas.opens());
  t.ok(nas.proofs(), 'the handler left the proof');
  const { child, lines } = nas.keepalive();
  await pause(10_000);
  t.equal(await statusOf(server), 'armed', 'with it the machine outlives its lease');
  child.kill('SIGTERM');
  await until('it locks', async () => (await statusOf(server)) === 'locked');
  nas.keepalive();
  await until(
    'a late keep-alive of the same boot arms it again',
    async () => (await statusOf(server)) === 'armed',
  );
  t.match(lines, [/watching home$/], 'nothing else to say');
  t.equal(lines.length, 1);
});

t.test('a verdict of the server is acted upon once, within a second or two; an outage is none', async (t) => {
  const server = await startKeyServer(t);
  const nas = await machine(t, server);
  const file = join(nas.own, 'config.yaml');
  writeFileSync(
    file,
    `${readFileSync(file, 'utf8')}on-locked: [{ run: [/bin/true] }]\non-revoked: [suspend, poweroff]\n`,
  );
  t.ok(await nas.opens());
  const { child, lines } = nas.keepalive();
  await pause(2000);
  await server.stop('SIGKILL');
  await pause(3000);
  t.notOk(nas.ordered('locked') || nas.ordered('revoked'), 'the server is away: nothing is done');
  await server.start();
  await until('it is there again', async () => (await server.command('audit', 'show')).status === 0);
  await pause(6000);

  await server.command('lock', 'nas');
  await until('the order to act', () => nas.ordered('locked'));
  const audit = await server.command('audit', 'show');
  t.match(audit.stdout, /machine claim nas from 127\.0\.0\.1: acted/, 'the report has left before');
  await server.command('revoke', 'nas', '--yes');
  await until('the order to act', () => nas.ordered('revoked'));
  const told = lines.map((line) => line.replace(/^<\d>/, ''));
  t.match(told[0], /^watching home$/);
  t.same(
    told.filter((line) => /^home: this machine/.test(line)),
    ['home: this machine is locked: doing run', 'home: this machine is revoked: doing suspend, poweroff'],
  );
  t.ok(
    told.some((line) => /^home: .*(closed|refused|reset|cut off)/.test(line)),
    'the outage was told',
  );
  await until('it ends, as nothing will come any more', () => child.exitCode === 0);
});

t.test('the server’s log is put back, and goes on otherwise: the machine tells', async (t) => {
  const server = await startKeyServer(t);
  // Longer than the server is away, so that the log says nothing of that.
  const nas = await machine(t, server, '--lease', '21s');
  const heads = join(nas.own, 'audit-heads/home');
  const lastHead = () => {
    const lines = existsSync(heads) ? readFileSync(heads, 'utf8').trimEnd().split('\n') : [];
    return (JSON.parse(lines.at(-1) ?? '{}') as { seq?: number }).seq ?? 0;
  };
  const seesAll = async () => {
    const { stdout } = await server.command('audit', 'show');
    return lastHead() === Number.parseInt(stdout.trimEnd().split('\n').at(-1) ?? '', 10);
  };
  const { lines } = nas.keepalive();
  await until('a first head', seesAll);
  t.equal(statSync(heads).mode & 0o777, 0o600);

  await server.stop();
  const copy = `${server.state}.copy`;
  t.teardown(() => rmSync(copy, { recursive: true, force: true }));
  cpSync(server.state, copy, { recursive: true });
  await server.start();
  t.match(await server.command('expect', 'nas', '--within', '1m'), { status: 0 });
  await until('a later head', seesAll);

  await server.stop();
  rmSync(server.state, { recursive: true });
  cpSync(copy, server.state, { recursive: true });
  await server.start();
  t.ok(await server.invite('other'));
  const alert = /home: major alert: record \d+ of its audit log has changed \(hint: /;
  await until('the alert', () => lines.some((line) => alert.test(line)));
  const claim = /claim nas .*: audit-head/;
  await until('the server’s own record of it', async () =>
    claim.test((await server.command('audit', 'show')).stdout),
  );
  t.ok(existsSync(`${heads}~`), 'what it had seen is kept');
  await pause(3000);
  t.equal(lines.filter((line) => alert.test(line)).length, 1, 'once');
});

t.test('a reboot announces itself, a power-off does not', async (t) => {
  const server = await startKeyServer(t);
  const nas = await machine(t, server);
  const announced = async () => {
    const { stdout } = await server.command('audit', 'show');
    return [...stdout.matchAll(/machine announce nas from 127\.0\.0\.1: (.*)/g)].map(
      ([, outcome]) => outcome,
    );
  };
  for (const jobs of [
    '',
    '12 poweroff.target start waiting\n13 umount.target start waiting\n',
    '12 halt.target start waiting\n',
    '12 soft-reboot.target start waiting\n',
    '12 reboot.target stop waiting\n',
  ]) {
    t.match(await nas.announce(jobs), { status: 0, stderr: '' }, jobs);
  }
  t.same(await announced(), [], 'none of these is a reboot');
  for (const target of ['reboot', 'kexec']) {
    const jobs = `12 final.target start waiting\n 7 ${target}.target start waiting\n`;
    t.match(await nas.announce(jobs), { status: 0, stderr: /^<6>home: this reboot is announced\n$/ });
  }
  t.same(await announced(), ['announced', 'announced']);

  const reboots = '7 reboot.target start waiting\n';
  await nas.announce(reboots);
  await nas.announce(reboots);
  const refused = await nas.announce(reboots);
  t.match(refused, {
    status: 5,
    stderr: /^<4>home: this reboot is not announced: the server does not grant it/,
  });
  await server.stop();
  t.match(await nas.announce(reboots), { status: 5, stderr: /not announced: .*connection refused/ });
  nas.forget();
  t.match(await nas.announce(reboots), { status: 0, stderr: /^<6>home: .*no key of this server was opened/ });
});
