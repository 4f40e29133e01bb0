import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { machine, until } from '../support/keepalive-machine.ts';
import { startKeyServer } from '../support/key-server.ts';

t.setTimeout(300_000);

interface View {
  readonly key: string;
  readonly next: string | null;
  readonly unaware: number;
  readonly names: readonly string[];
}

const viewOf = ({ stdout }: { stdout: string }) => JSON.parse(stdout) as View;

t.test('another key for the server, once every machine knows it', async (t) => {
  const server = await startKeyServer(t);
  const nas = await machine(t, server, '--lease', '21s');
  const shown = async () => viewOf(await server.command('identity', 'show', '--json'));
  const before = await shown();
  t.match(before, { key: /^sha256\//, next: null, unaware: 0 });
  const old = join(server.state, '../old-identity');
  copyFileSync(join(server.state, 'identity.pem'), old);
  t.teardown(() => rmSync(old));

  // Its machine is switched off: it waits, through a restart too.
  const waiting = server.command('identity', 'rotate', '--json');
  await until('it is announced', async () => (await shown()).next !== null);
  const announced = await shown();
  t.match(announced, { key: before.key, unaware: 1, names: ['nas'] });
  t.ok(await nas.opens(), 'the key before goes on');
  await server.stop();
  t.match((await waiting).status, 5, 'cut off');
  await server.start();
  t.strictSame(await shown(), announced);

  const rotating = server.command('identity', 'rotate', '--json');
  const { child, lines } = nas.keepalive();
  const after = viewOf(await rotating);
  t.match(after, { key: announced.next, next: null, unaware: 0 });
  t.notOk(existsSync(join(server.state, 'identity.pem.next')));
  await until('the machine has gone over', () =>
    lines.some((line) => line.endsWith(`its key is ${after.key}`)),
  );
  t.ok(await nas.opens(), 'by its new key');
  await until('it is kept alive', async () => {
    const { stdout } = await server.command('show', 'nas', '--json');
    return (JSON.parse(stdout) as { 'lease-left-ms': number })['lease-left-ms'] > 18_000;
  });
  t.notMatch(lines.join('\n'), /alert/, 'the log’s heads are signed by the key of their connection');
  t.match(await server.command('audit', 'verify', '--witness', join(nas.own, 'audit-heads/home')), {
    status: 0,
  });
  t.match(await server.command('audit', 'show'), {
    stdout: /rotate-identity .*announced\n(.*\n)*.*rotate-identity .*done/,
  });

  // Who has stolen the key before is nobody any more.
  await server.stop();
  copyFileSync(join(server.state, 'identity.pem'), `${old}.new`);
  t.teardown(() => rmSync(`${old}.new`));
  copyFileSync(old, join(server.state, 'identity.pem'));
  await server.start();
  t.notOk(await nas.opens());
  await server.stop();
  copyFileSync(`${old}.new`, join(server.state, 'identity.pem'));
  child.kill('SIGTERM');
});

t.test('a machine that is locked hears of it; one that was off joins again', async (t) => {
  const server = await startKeyServer(t);
  const nas = await machine(t, server);
  const { child, lines } = nas.keepalive();
  await until('it watches', () => lines.some((line) => line.includes('watching')));
  await server.command('lock', 'nas');
  await until('it is locked', () => lines.some((line) => line.includes('is locked')));
  const { status, stdout, stderr } = await server.command('identity', 'rotate');
  t.equal(status, 0, stderr);
  t.match(stdout, /^key {3}sha256\/[\w-]{43}\n$/);
  t.match(stderr, /^waiting for nas$/m);
  child.kill('SIGTERM');
  await server.command('allow', 'nas');
  t.ok(await nas.opens());

  const missed = await server.command('identity', 'rotate', '--now');
  t.equal(missed.status, 0, missed.stderr);
  t.notOk(await nas.opens(), 'it was off, and has not heard of this one');
  await nas.tell(['leave', 'home'], '');
  t.notOk(existsSync(join(nas.own, 'identity/home')));
  const again = await nas.tell(['join', '--name', 'home'], await server.invite('nas', '--rejoin'));
  const [, fingerprint = ''] = /fingerprint {2}(\S+)/.exec(again.toString()) ?? [];
  t.match(await server.command('allow', 'nas', '--fingerprint', fingerprint), { status: 0 });
  t.ok(await nas.opens(), 'what was sealed two keys ago');
  const anew = nas.keepalive();
  await until('it is kept alive, with that proof', async () => {
    const { stdout } = await server.command('show', 'nas', '--json');
    return typeof (JSON.parse(stdout) as { 'lease-left-ms': unknown })['lease-left-ms'] === 'number';
  });
  anew.child.kill('SIGTERM');
});

t.test('a key that is given is replaced by whoever gives it', async (t) => {
  const first = await startKeyServer(t);
  const pem = readFileSync(join(first.state, 'identity.pem'));
  await first.stop();
  const given = join(first.state, 'given.pem');
  writeFileSync(given, pem, { mode: 0o600 });
  const config = join(first.state, 'config.yaml');
  writeFileSync(config, `identity: ${given}\n`);
  const server = await startKeyServer(t, '--config', config);
  t.match(await server.command('identity', 'rotate'), {
    status: 4,
    stderr: /there is no .*given\.pem\.next/,
  });
  const other = await startKeyServer(t);
  writeFileSync(`${given}.next`, readFileSync(join(other.state, 'identity.pem')), { mode: 0o600 });
  await server.stop();
  await server.start();
  const { key } = viewOf(await other.command('identity', 'show', '--json'));
  t.match(viewOf(await server.command('identity', 'show', '--json')), { next: key, unaware: 0 });
  t.match(await server.command('identity', 'rotate'), {
    status: 4,
    stderr: /put .*given\.pem\.next in its place/,
  });
  writeFileSync(given, readFileSync(`${given}.next`));
  rmSync(`${given}.next`);
  await server.stop();
  await server.start();
  t.match(viewOf(await server.command('identity', 'show', '--json')), { key, next: null });
  t.match(await server.command('identity', 'turn'), { status: 2, stderr: /expected show or rotate/ });
});
