import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { type KeyServerProcess, startKeyServer } from '../support/key-server.ts';
import { type Stage, setStage } from '../support/stage.ts';
import { startSwtpm } from '../support/swtpm.ts';

// Each step starts one or two programs, on two cores that other tests share.
t.setTimeout(300_000);

const KEY = Buffer.from('a key that the server never sees');

/** A machine that has joined, with a handler behind a socket. */
async function joinedStage(
  t: Test,
  server: KeyServerProcess,
  name: string,
  ...options: string[]
): Promise<Stage> {
  const stage = await setStage(t);
  const line = await server.invite(name, ...options);
  const joined = await fetchLuksKey(['join', '--name', 'home', '--etc', stage.etc], line);
  t.equal(joined.status, 0, joined.stderr);
  return stage;
}

async function seal(stage: Stage, pin: string, config: object, environment = {}): Promise<string> {
  const args = ['seal', pin, JSON.stringify(config), '--etc', stage.etc];
  const { status, stdout, stderr } = await fetchLuksKey(args, KEY, environment);
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

/** Further settings of the volume `data`, below what `join` wrote. */
function patience(stage: Stage, settings: string): void {
  const file = `${stage.etc}/config.yaml`;
  const before = readFileSync(file, 'utf8').split('volumes:')[0];
  writeFileSync(file, `${before}volumes: { data: { ${settings} } }\n`);
}

const delivered = {
  status: 0,
  line: /^data: key delivered, opened by remote home in \d+ ms$/,
  gets: KEY,
} as const;

t.test('join, seal, open, lock, allow, revoke', async (t) => {
  const server = await startKeyServer(t);
  const stage = await joinedStage(t, server, 'nas');
  t.match(readFileSync(`${stage.etc}/config.yaml`, 'utf8'), /servers:\n +home:\n +url: https:\/\/127/);
  t.equal(statSync(`${stage.etc}/identity/home`).mode & 0o777, 0o600);
  stage.put('data', await seal(stage, 'remote', { server: 'home' }));
  await stage.shows(t, 'opened', 'data', delivered);
  stage.put('data', await seal(stage, 'remote', { server: 'home', crv: 'P-521' }));
  await stage.shows(t, 'opened by P-521', 'data', delivered);

  t.equal((await server.command('lock', 'nas')).status, 0);
  patience(stage, 'wait-for-allow: 2s, give-up-after: 1s');
  await stage.shows(t, 'locked', 'data', {
    status: 4,
    line: /^data: .*remote home: this machine is locked \(request [0-9a-f]{16}\) \(gave up after \d+ tries in 1\.\d s\) \(hint: .*luks-key-server allow NAME\)$/,
  });
  patience(stage, 'give-up-after: 1s');
  const waiting = stage.shows(t, 'locked, then allowed', 'data', delivered);
  await pause(2500);
  t.match(await server.command('allow', 'nas'), { status: 0, stdout: /^nas +armed +1[45]m left/ });
  await waiting;

  t.match(await server.command('revoke', 'nas', '--yes'), { status: 0, stdout: /^nas +revoked/ });
  await stage.shows(t, 'revoked', 'data', {
    status: 4,
    line: /^data: .*remote home: this machine is revoked \(request [0-9a-f]{16}\) \(hint: its keys are gone/,
  });
  t.match(
    (await server.command('allow', 'nas')).stderr,
    /^luks-key-server: this machine is revoked, for ever \(hint: /,
  );
  const audit = await server.command('audit', 'show');
  t.match(audit.stdout, /operator revoke nas: revoked\n.*machine recover nas from 127\.0\.0\.1: revoked\n$/);
  t.match(await server.command('audit', 'verify'), { status: 0, stdout: /^\d+ records, head / });
  for (const secret of [KEY.toString(), KEY.toString('base64url')]) {
    t.notOk(
      server.journal.some((line) => line.includes(secret)),
      'the server never saw the key',
    );
  }
});

t.test('2 of {tpm2, remote}: neither alone', async (t) => {
  const server = await startKeyServer(t);
  const tpm = await startSwtpm();
  t.teardown(() => tpm.remove());
  const environment = { TPM2TOOLS_TCTI: tpm.tcti };
  const stage = await setStage(t, { environment });
  const joined = await fetchLuksKey(
    ['join', '--name', 'home', '--etc', stage.etc],
    await server.invite('nas'),
  );
  t.equal(joined.status, 0, joined.stderr);
  const policy = { t: 2, pins: { tpm2: {}, remote: { server: 'home' } } };
  stage.put('data', await seal(stage, 'sss', policy, environment));
  await stage.shows(t, 'both', 'data', {
    status: 0,
    line: /^data: key delivered, opened by (tpm2, remote home|remote home, tpm2) in/,
    gets: KEY,
  });
  tpm.extend(7);
  await stage.shows(t, 'PCR changed', 'data', { status: 4, line: /2 of 2 needed: .*PCR 7/ });
});

t.test('the server is away, and comes back with all that it knew', async (t) => {
  const server = await startKeyServer(t);
  const stage = await joinedStage(t, server, 'nas');
  stage.put('data', await seal(stage, 'remote', { server: 'home' }));
  await server.stop('SIGKILL');
  patience(stage, 'give-up-after: 1s');
  await stage.shows(t, 'away', 'data', {
    status: 5,
    line: /remote home: https:\/\/127\.0\.0\.1:\d+: connection refused \(gave up/,
  });
  patience(stage, 'give-up-after: 60s');
  const waiting = stage.shows(t, 'back', 'data', delivered);
  await pause(1000);
  await server.start();
  await waiting;
  t.equal(await server.stop(), 0, 'SIGTERM ends it');
});

t.test('who is not who he was', async (t) => {
  const [server, other] = [await startKeyServer(t), await startKeyServer(t)];
  const stage = await joinedStage(t, server, 'nas');
  stage.put('data', await seal(stage, 'remote', { server: 'home' }));
  const file = `${stage.etc}/config.yaml`;
  const right = readFileSync(file, 'utf8');
  writeFileSync(file, `${right.replace(server.url, other.url)}volumes: { data: { give-up-after: 1s } }\n`);
  await stage.shows(t, 'another server at the address', 'data', {
    status: 5,
    line: /the server's key is not the pinned one: expected sha256\/[\w-]{43}, got sha256\//,
  });
  writeFileSync(file, right);
  const eve = await joinedStage(t, server, 'eve');
  eve.put('data', readFileSync(`${stage.etc}/volumes/data.jwe`));
  await eve.shows(t, 'another machine', 'data', {
    status: 4,
    line: /the server does not know this machine, or not this key/,
  });
  await stage.shows(t, 'the right one', 'data', delivered);
});

t.test('an approval is for one request', async (t) => {
  const server = await startKeyServer(t);
  const stage = await joinedStage(t, server, 'nas', '--approval', 'manual', '--from', '127.0.0.0/8');
  stage.put('data', await seal(stage, 'remote', { server: 'home' }));
  const waiting = stage.shows(t, 'approved', 'data', delivered);
  for (let tries = 0; ; tries++) {
    const { stdout } = await server.command('list', '--json');
    const [machine] = (JSON.parse(stdout) as { machines: { pending: { id: string }[] }[] }).machines;
    const [request] = machine?.pending ?? [];
    if (request !== undefined) {
      t.equal((await server.command('approve', 'nas', request.id)).status, 0);
      break;
    }
    if (tries > 50) throw new Error('no request waits');
    await pause(100);
  }
  await waiting;
});

t.test('join and leave, and what they refuse', async (t) => {
  const server = await startKeyServer(t);
  const etc = t.testdir({ 'config.yaml': '# mine\nvolumes: { data: { give-up-after: 5m } } # keep\n' });
  const file = `${etc}/config.yaml`;
  const join = (line: string, ...more: string[]) =>
    fetchLuksKey(['join', '--name', 'home', '--etc', etc, ...more], line);
  const before = readFileSync(file, 'utf8');
  for (const [title, line] of Object.entries({
    nothing: '',
    'no line of ours': 'hunter2',
    http: (await server.invite('a')).replace('https', 'http'),
    'a pin that is cut': (await server.invite('b')).replace(/pin=./, 'pin='),
  })) {
    fails(
      t,
      title,
      await join(line),
      2,
      /^join: standard input: expected the line that luks-key-server invite prints/,
    );
  }
  const forged = (await server.invite('c')).replace(/invitation=.*/, `invitation=${'A'.repeat(43)}`);
  const used = await join(forged);
  t.match(used, { status: 4, stderr: /invitation/ });
  t.equal(readFileSync(file, 'utf8'), before, 'nothing was changed');
  t.notOk(existsSync(`${etc}/identity/home.new`));

  const line = await server.invite('nas');
  const joined = await join(line, '--json');
  t.match(JSON.parse(joined.stdout), {
    server: 'home',
    machine: 'nas',
    status: 'armed',
    fingerprint: /^sha256\//,
  });
  t.match(readFileSync(file, 'utf8'), /^# mine\nvolumes: .*# keep\nservers:\n/s, 'what was there stays');
  fails(t, 'twice', await join(line), 2, /^join: there is a server home already/);
  t.match(await server.command('invite', 'nas', '--url', server.url), {
    status: 2,
    stderr: /already/,
  });

  const heads = `${etc}/audit-heads`;
  mkdirSync(heads);
  writeFileSync(`${heads}/home`, '');
  const left = await fetchLuksKey(['leave', 'home', '--etc', etc]);
  t.match(left, { status: 0, stdout: 'left home\n' });
  t.notOk(existsSync(`${etc}/identity/home`));
  t.notOk(existsSync(`${heads}/home`), 'another server of that name has another log');
  t.notMatch(readFileSync(file, 'utf8'), /servers/);
  fails(t, 'not joined', await fetchLuksKey(['leave', 'home', '--etc', etc]), 2, /^leave: no server "home"/);
});

t.test('what luks-key-server itself refuses', async (t) => {
  const server = await startKeyServer(t);
  const says = async (args: string[], status: number, line: RegExp) => {
    const ended = await server.command(...args);
    t.equal(ended.status, status, args.join(' '));
    t.match(ended.stderr, line, args.join(' '));
  };
  await says(['show', 'nobody'], 2, /^luks-key-server: no machine "nobody" \(hint: luks-key-server list/);
  await says(['lock', '../x'], 2, /^luks-key-server: name: expected 1 to 63 letters/);
  await says(
    ['invite', 'x', '--url', 'http://a'],
    2,
    /--url: expected https:\/\/HOST:PORT, got "http:\/\/a"/,
  );
  const invite = ['invite', 'x', '--url', server.url];
  await says([...invite, '--lease', '15'], 2, /--lease: expected a duration with its unit .*, got "15"/);
  await says([...invite, '--approval', 'maybe'], 2, /--approval: expected auto or manual, got "maybe"/);
  await says([...invite, '--from', '10.0.0.1/8'], 2, /expected a block of addresses, got "10\.0\.0\.1\/8"/);
  await says(['expect', 'x'], 2, /--within: expected a duration/);
  await says(['audit', 'burn'], 2, /expected show, verify or export/);
  await says(['burn'], 2, /no command "burn" \(hint: one of serve, /);
  await server.stop();
  await says(['list'], 5, /operator\.sock: (ECONNREFUSED|ENOENT) \(hint: does the server run\?/);
});
