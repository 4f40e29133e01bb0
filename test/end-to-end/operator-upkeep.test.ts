import { spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import t, { type Test } from 'tap';
import { DEFAULT_PROGRAM } from '../support/activation.ts';
import { fetchLuksKey } from '../support/command-line.ts';
import { machine, until } from '../support/keepalive-machine.ts';
import { KEY_SERVER, type KeyServerProcess, startKeyServer } from '../support/key-server.ts';
import { run } from '../support/run.ts';
import { startTang } from '../support/tang.ts';

t.setTimeout(300_000);

const folderFor = (t: Test) => {
  const folder = mkdtempSync(join(tmpdir(), 'upkeep-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
};

/** A machine that has joined, and whose secret the server alone opens. */
async function joined(t: Test, server: KeyServerProcess) {
  const etc = folderFor(t);
  const line = await server.invite('nas');
  t.match(await fetchLuksKey(['join', '--name', 'home', '--etc', etc], line), { status: 0 });
  const sealed = await fetchLuksKey(['seal', 'remote', '{"server":"home"}', '--etc', etc], 'secret');
  t.equal(sealed.status, 0, sealed.stderr);
  writeFileSync(join(etc, 'sealed'), sealed.stdout);
  return () => fetchLuksKey(['open', join(etc, 'sealed'), '--etc', etc]);
}

const offline = async (...args: string[]) => {
  const { stdout, ...ended } = await run([...KEY_SERVER, ...args], Buffer.alloc(0), {});
  return { ...ended, stdout: stdout.toString() };
};

t.test('a backup makes a server elsewhere, where every machine starts locked', async (t) => {
  const server = await startKeyServer(t);
  const opens = await joined(t, server);
  const folder = folderFor(t);
  const passphrase = join(folder, 'passphrase');
  writeFileSync(passphrase, 'long enough\n');
  const backup = await server.command('backup', '--passphrase-file', passphrase);
  t.equal(backup.status, 0, backup.stderr);
  const path = backup.stdout.trim();
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.strictSame(
    readdirSync(join(server.state, 'backups')),
    [path.split('/').at(-1)],
    'nothing is left beside it',
  );
  t.notMatch(readFileSync(path, 'latin1'), /nas|PRIVATE KEY/);
  const copy = join(folder, 'backup');
  copyFileSync(path, copy);
  await server.stop();
  rmSync(server.state, { recursive: true });

  const state = ['--state', server.state];
  const none = await offline('restore', join(folder, 'none'), ...state, '--passphrase-file', passphrase);
  t.match(none, { status: 2, stderr: /none: no such file\n$/ });
  t.notOk(existsSync(server.state), 'nothing is begun');
  const wrong = join(folder, 'wrong');
  writeFileSync(wrong, 'another');
  const refused = await offline('restore', copy, ...state, '--passphrase-file', wrong);
  t.equal(refused.status, 6);
  t.match(refused.stderr, /^luks-key-server: .*backup.*\n$/);
  const restored = await offline('restore', copy, ...state, '--passphrase-file', passphrase, '--json');
  t.equal(restored.status, 0, restored.stderr);
  t.strictSame(JSON.parse(restored.stdout), { machines: 1 });
  const again = await offline('restore', copy, ...state, '--passphrase-file', passphrase);
  t.equal(again.status, 4);
  t.match(again.stderr, /identity\.pem: there is a server here already/);

  await server.start();
  t.match(await opens(), { status: 4, stderr: /home: this machine is locked/ });
  t.match(await server.command('allow', 'nas'), { status: 0 });
  t.match(await opens(), { status: 0, stdout: 'secret' }, 'the same server, by the same key');
  t.match(await server.command('audit', 'verify'), { status: 0 });
});

t.test('a backup whose passphrase is a sealed key', async (t) => {
  const server = await startKeyServer(t);
  const opens = await joined(t, server);
  const tang = await startTang(t);
  const folder = folderFor(t);
  // Bytes of any kind, none of them text.
  const secret = Buffer.from([0xff, 0x00, 0xc3, 0x28, 0x80, 0x0a, 0xfe]);
  const config = JSON.stringify({ url: tang.url, thp: tang.thp });
  const sealed = await fetchLuksKey(['seal', 'tang', config, '--etc', folder], secret);
  t.equal(sealed.status, 0, sealed.stderr);
  const jwe = join(folder, 'backup.jwe');
  writeFileSync(jwe, sealed.stdout);
  const piped = async (...args: string[]) => {
    const opened = await run([...DEFAULT_PROGRAM, 'open', jwe, '--etc', folder], Buffer.alloc(0), {});
    return run([...KEY_SERVER, ...args, '--passphrase-file', '-'], opened.stdout, {});
  };
  const backup = await piped('backup', '--socket', join(server.state, 'operator.sock'));
  t.equal(backup.status, 0, backup.stderr);
  const copy = join(folder, 'backup');
  copyFileSync(backup.stdout.toString().trim(), copy);
  await server.stop();
  rmSync(server.state, { recursive: true });
  const restored = await piped('restore', copy, '--state', server.state);
  t.equal(restored.status, 0, restored.stderr);
  await server.start();
  t.match(await server.command('allow', 'nas'), { status: 0 });
  t.match(await opens(), { status: 0, stdout: 'secret' });
});

t.test('another master key: the server goes on, and a copy from before needs the old one', async (t) => {
  const server = await startKeyServer(t);
  const opens = await joined(t, server);
  const before = readFileSync(join(server.state, 'master-key'), 'utf8');
  t.match(await server.command('master', 'rotate'), { status: 0, stdout: 'version 2 of the master key\n' });
  t.not(readFileSync(join(server.state, 'master-key'), 'utf8'), before);
  t.match(await opens(), { status: 0, stdout: 'secret' });
  await server.stop();
  await server.start();
  t.match(await opens(), { status: 0, stdout: 'secret' }, 'after a restart too');
  await server.stop();
  const now = readFileSync(join(server.state, 'master-key'), 'utf8');
  writeFileSync(join(server.state, 'master-key'), before);
  await t.rejects(server.start(), /master key: version 2 of this store is not the one that was given/);
  writeFileSync(join(server.state, 'master-key'), now);
  await server.start();
  t.match(await server.command('master', 'turn'), { status: 2, stderr: /expected rotate, got "turn"/ });
});

t.test('a log that is cut where a machine has seen more', async (t) => {
  const server = await startKeyServer(t);
  const nas = await machine(t, server, '--lease', '21s');
  const { child } = nas.keepalive();
  const witness = join(nas.own, 'audit-heads/home');
  const head = () =>
    JSON.parse(readFileSync(witness, 'utf8').trimEnd().split('\n').at(-1) ?? '') as { seq: number };
  await server.command('expect', 'nas', '--within', '1m');
  await until('the machine has seen the log', async () => {
    const { stdout } = await server.command('audit', 'verify', '--json');
    try {
      return head().seq === (JSON.parse(stdout) as { records: number }).records;
    } catch {
      return false;
    }
  });
  child.kill('SIGTERM');
  const good = await server.command('audit', 'verify', '--witness', witness);
  t.match(good, { status: 0, stdout: /^\d+ records, head [\w-]{43}, [1-9]\d* signed heads$/m });

  const { seq } = head();
  await server.stop();
  const database = new DatabaseSync(join(server.state, 'keys.db'));
  database.exec(`DELETE FROM audit WHERE seq >= ${seq}; DELETE FROM signed_heads WHERE seq >= ${seq};
    UPDATE audit_head SET seq = ${seq - 1}, hash = (SELECT hash FROM audit WHERE seq = ${seq - 1})`);
  database.close();
  await server.start();
  t.match(await server.command('audit', 'verify'), { status: 0 }, 'by itself it looks whole');
  const cut = await server.command('audit', 'verify', '--witness', witness);
  t.match(cut, { status: 6, stderr: `record ${seq}: truncated` });
  t.match(await server.command('audit', 'verify', '--witness', '/no/such'), {
    status: 2,
    stderr: /no such file/,
  });
  writeFileSync(witness, 'no head\n');
  t.match(await server.command('audit', 'verify', '--witness', witness), {
    status: 6,
    stderr: /home:1: expected a signed head/,
  });
});

t.test('what happens is shown as it happens', async (t) => {
  const server = await startKeyServer(t);
  await joined(t, server);
  const [program = '', ...args] = [...KEY_SERVER, 'watch', '--socket', join(server.state, 'operator.sock')];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  let tries = 0;
  await until('a line', async () => {
    await server.command(tries++ % 2 === 0 ? 'lock' : 'allow', 'nas');
    return lines.length > 0;
  });
  t.match(lines[0], /operator (lock|allow) nas: /);
  const ended = new Promise((done) => child.once('exit', done));
  child.kill('SIGINT');
  t.equal(await ended, 0);
});

t.test('the doctor: what weakens a server, and that it is away', async (t) => {
  const server = await startKeyServer(t);
  const { status, stdout } = await server.command('doctor', '--json');
  t.equal(status, 0);
  const codes = (JSON.parse(stdout) as { findings: { code: string }[] }).findings.map(({ code }) => code);
  t.strictSame(codes, ['master-key-in-file', 'no-backup']);

  await server.invite('one');
  await server.stop();
  const database = new DatabaseSync(join(server.state, 'keys.db'));
  database.exec('UPDATE audit SET record = replace(record, \'"operator"\', \'"stranger"\')');
  database.close();
  await server.start();
  const damaged = await server.command('doctor');
  t.equal(damaged.status, 1);
  t.match(
    damaged.stdout,
    /^broken: the audit log is not what was written: record 1 edited, .*\[audit-damaged\]$/m,
  );

  await server.stop();
  t.match(await server.command('doctor'), { status: 1, stdout: /\[not-answering\]/ });
});
