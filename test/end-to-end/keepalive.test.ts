import { once } from 'node:events';
import { cpSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { machine, until } from '../support/keepalive-machine.ts';
import { type KeyServerProcess, startKeyServer } from '../support/key-server.ts';

// Leases of some seconds, waited for.
t.setTimeout(300_000);

const root = resolve(import.meta.dirname, '../..');

async function statusOf(server: KeyServerProcess): Promise<string> {
  const { stdout } = await server.command('list', '--json');
  return (JSON.parse(stdout) as { machines: { status: string }[] }).machines[0]?.status ?? 'none';
}

t.test('who has opened its key stays armed, and no other', async (t) => {
  const server = await startKeyServer(t);
  const nas = await machine(t, server, '--lease', '6s', '--boot-grace', '6s');
  t.ok(nas.proofs(), 'who seals a key has it');
  const lastKeepAlive = async () =>
    JSON.parse((await nas.tell(['status', '--json'], '')).toString()).servers[0]['last-keep-alive'];
  nas.forget();
  const silent = nas.keepalive();
  await pause(8000);
  t.equal(await statusOf(server), 'locked', 'without a proof the lease ends');
  t.equal(await lastKeepAlive(), null, 'none has counted');
  silent.child.kill('SIGTERM');
  await server.command('allow', 'nas');
  t.ok(await nas.opens());
  t.ok(nas.proofs(), 'the handler left the proof');
  const { child, lines } = nas.keepalive();
  await pause(10_000);
  t.equal(await statusOf(server), 'armed', 'with it the machine outlives its lease');
  t.match(await lastKeepAlive(), /^\d{4}-.*Z$/);
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
  await until('it watches', () => lines.some((line) => line.endsWith('watching home')));
  await server.stop('SIGKILL');
  await pause(3000);
  t.notOk(nas.ordered('locked') || nas.ordered('revoked'), 'the server is away: nothing is done');
  await server.start();
  await until('it is there again', async () => (await server.command('audit', 'show')).status === 0);
  await pause(6000);

  await server.command('lock', 'nas');
  await until('the order to act', () => nas.ordered('locked'));
  const audit = await server.command('audit', 'show');
  const reported = /machine claim nas from 127\.0\.0\.1: acted/.test(audit.stdout);
  const gaveUp = lines.some((line) => /home: report: /.test(line));
  t.ok(reported || gaveUp, 'the report has left before, or could not be made in its time', {
    lines,
    audit: audit.stdout,
  });
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

t.test('the server’s log is put back, and grows on otherwise: the machine tells', async (t) => {
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
  const daemon = nas.keepalive();
  await until('a first head', seesAll);
  t.equal(statSync(heads).mode & 0o777, 0o600);

  await server.stop();
  const copy = `${server.state}.copy`;
  t.teardown(() => rmSync(copy, { recursive: true, force: true }));
  cpSync(server.state, copy, { recursive: true });
  await server.start();
  t.match(await server.command('expect', 'nas', '--within', '1m'), { status: 0 });
  await until('a later head', seesAll);
  t.notMatch(daemon.lines.join('\n'), /alert/);
  const ended = once(daemon.child, 'close');
  daemon.child.kill();
  await ended;

  await server.stop();
  rmSync(server.state, { recursive: true });
  cpSync(copy, server.state, { recursive: true });
  await server.start();
  for (const name of ['one', 'two', 'three']) t.ok(await server.invite(name));
  const { lines } = nas.keepalive();
  const alert = /home: major alert: record \d+ of its audit log does not extend record \d+ \(hint: /;
  await until('the alert', () => lines.some((line) => alert.test(line)));
  const claim = /claim nas .*: audit-head/;
  await until('the server’s own record of it', async () =>
    claim.test((await server.command('audit', 'show')).stdout),
  );
  t.ok(existsSync(`${heads}~`), 'what it had seen is kept');
  await pause(3000);
  t.equal(lines.filter((line) => alert.test(line)).length, 1, 'once');
});

t.test('the executable at rest takes at most 70 MiB, after as many keep-alives as an hour has', async (t) => {
  const server = await startKeyServer(t);
  const nas = await machine(t, server, '--lease', '3s');
  const { child } = nas.keepalive([join(root, 'dist/fetch-luks-key')]);
  await pause(12_000);
  for (let look = 0; look < 8; look++) {
    await pause(700);
    const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? [];
    t.ok(Number(kib) <= 70 * 1024, `${kib} KiB`);
  }
  t.equal(await statusOf(server), 'armed');
});
