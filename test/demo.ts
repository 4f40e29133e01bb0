/**
 * `npm run demo`: what fetch-luks-key does, shown on this machine alone and without touching it. What follows a `$`
 * is run as it stands, and what is said about it is checked. Exit status 0 only if every step did what it says.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Activated, activate } from './support/activation.ts';
import { makeImage } from './support/luks.ts';
import { expectStatus, expectText, Failure, narrate } from './support/narration.ts';
import { portToKeep } from './support/ports.ts';
import { type Swtpm, startSwtpm } from './support/swtpm.ts';
import { startTang, type TangServer } from './support/tang.ts';

const startMs = performance.now();
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort());
// Nobody reads on: piped into `head`, say.
process.stdout.on('error', () => stop.abort());

const executables = resolve(import.meta.dirname, '../dist');
const folder = mkdtempSync(`${tmpdir()}/flk-demo-`);
process.chdir(folder);
// Every process below gets it, whoever starts it; all that is made on the way goes to the folder too.
const environment = process.env;
environment.PATH = `${executables}:${environment.PATH}:/usr/sbin:/sbin`;
environment.TMPDIR = environment.XDG_RUNTIME_DIR = folder;

/** Undone in reverse, however the demo ends. */
const undo: (() => unknown)[] = [
  () => {
    process.chdir('/');
    rmSync(folder, { recursive: true });
  },
];

const key = randomBytes(64).toString('base64');
const { step, say, show, run, command, waitingFor } = narrate(key, environment, stop.signal);
const ASK = 'fetch-luks-key request data --socket run/key.sock';
const ASK_AND_TRY = `${ASK} --output - |
  cryptsetup open --test-passphrase --key-file=- data.img &&
  echo "the key opens data.img"`;
const TRYING = 'no Tang server yet, the handler keeps trying';
let tpm: Swtpm;
let tang: TangServer;
let socket: Activated;
let port = 0;

try {
  process.stdout.write(`fetch-luks-key in less than a minute

A software TPM, a Tang server, a key server and an encrypted disk image: all of it in
${folder} and on 127.0.0.1, and gone when this ends.
What follows a $ is run as it stands, in that folder.
`);
  await step('A machine with a TPM, an encrypted disk, and a Tang server in its network', setTheStage);
  await step('The disk gets a new key, which is sealed to 2 of {tpm2, tang}', sealKey);
  await step('A socket listens, and starts one handler for each connection', listen);
  await step('The key is asked for, exactly as systemd-cryptsetup asks', ask);
  await step('The boot state has changed: no key', changePcr);
  await step('The boot state is as it was: the key again', reboot);
  await step('The Tang server is away: tried again and again, given up in the end', loseTang);
  await step('The Tang server comes back while the disk waits: the key', regainTang);
  await step('A key server, which knows its machines: one line lets this one join', joinServer);
  await step('The key is sealed to 2 of {tpm2, remote}, and asked for', sealToServer);
  await step('The machine does not keep itself alive: locked, until somebody allows it', missLease);
  await step('The machine is stolen: revoked, for ever, from the next request on', revoke);
} catch (thrown) {
  process.exitCode = stop.signal.aborted ? 130 : 1;
  complain(stop.signal.aborted ? 'stopped' : thrown);
} finally {
  for (const action of undo.toReversed()) await cleanUp(action);
}
if (process.exitCode === undefined) farewell();

async function setTheStage(): Promise<void> {
  const { output } = await run('fetch-luks-key --version');
  expectText('its version', output, 'fetch-luks-key ');
  tpm = await startSwtpm();
  undo.push(tpm.remove);
  command(`export TPM2TOOLS_TCTI=${tpm.tcti}`);
  environment.TPM2TOOLS_TCTI = tpm.tcti;
  tang = await startTang({ teardown: (action) => undo.push(action) });
  makeImage(folder, 'data.img');
  say(`swtpm is the machine's TPM; a real one needs no such variable. data.img is a LUKS2 disk that opens with a
    passphrase so far, the one in data.img.pass. tangd, from Debian's package, answers at ${tang.url}.`);
}

async function sealKey(): Promise<void> {
  const added = await run(`printf %s "$key" |
  cryptsetup luksAddKey --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \\
    --key-file data.img.pass data.img -`);
  expectStatus("cryptsetup's", added.status, 0);
  mkdirSync('etc/volumes', { recursive: true });
  const sealed = await run(`printf %s "$key" |
  fetch-luks-key seal sss '{"t": 2, "pins": {
    "tpm2": {"pcr_ids": "7"},
    "tang": {"url": "${tang.url}",
             "thp": "${tang.thp}"}}}' \\
    > etc/volumes/data.jwe`);
  expectStatus("fetch-luks-key's", sealed.status, 0);
  say(`The key is 88 random characters that go through pipes and are in no file. data.jwe gives them back only
    where both are: this very TPM with the boot state of now (PCR 7), and that Tang server. Either alone is not
    enough, so neither a stolen disk nor a machine outside its network opens.`);
}

async function listen(): Promise<void> {
  writeFileSync('crypttab', `data ${folder}/data.img ${folder}/run/key.sock luks\n`);
  await run('cat crypttab');
  mkdirSync('run');
  const { TPM2TOOLS_TCTI = '', XDG_RUNTIME_DIR = '' } = environment;
  // systemd-socket-activate passes on only what it is told to; a handler of root has its locks in /run.
  const passed = process.getuid?.() === 0 ? { TPM2TOOLS_TCTI } : { TPM2TOOLS_TCTI, XDG_RUNTIME_DIR };
  const args = ['--etc', 'etc', '--crypttab', 'crypttab'];
  const names = Object.keys(passed).map((name) => `-E ${name}`);
  command(`systemd-socket-activate --accept -l $PWD/run/key.sock ${names.join(' ')} \\
  fetch-luks-key handle ${args.join(' ')} &`);
  socket = await activate(args, {
    environment: passed,
    program: ['fetch-luks-key'],
    folder: `${folder}/run`,
  });
  undo.push(socket.stop);
  say(`The third field of crypttab, where the path of a key file would be, names the socket: that is all that
    systemd needs to be told. On a machine of yours fetch-luks-key@.socket listens, and is started at boot.`);
}

async function ask(): Promise<void> {
  const { output, journal } = await request(ASK, 0);
  expectText('the answer', output, ' 88 bytes ');
  expectText('the journal', journal, 'key delivered', 'tpm2', 'tang');
  await openDisk();
  say(`Which disk is meant, the handler read from the client's address. It asked the TPM and the Tang server at the
    same time, put the key together, wrote it and was gone. One line a request goes to the journal; its <6> is the
    priority, info.`);
}

async function changePcr(): Promise<void> {
  const extended = await run('tpm2_pcrextend 7:sha256=$(echo changed | sha256sum | cut -c-64)');
  expectStatus("tpm2_pcrextend's", extended.status, 0);
  const { status, journal } = await request(ASK_AND_TRY, 4);
  expectStatus("cryptsetup's", status, 2);
  expectText('the journal', journal, 'PCR 7');
  say(`The TPM does not unseal in another boot state, and the Tang server's half alone is worth nothing. The client
    got 64 random bytes, which open nothing. (No bytes at all would count as the empty passphrase, and a thief may
    have put in a disk which that opens.)`);
}

async function reboot(): Promise<void> {
  say('The TPM is switched off and on, as in a reboot: its PCRs begin anew, its keys stay.');
  await tpm.restart();
  await openDisk();
  say('Nothing had to be sealed again, and nobody had to type anything.');
}

async function loseTang(): Promise<void> {
  say('The Tang server is stopped.');
  await tang.stop();
  await run("echo 'volumes: { data: { give-up-after: 2s } }' > etc/config.yaml");
  waitingFor(TRYING);
  const { journal } = await request(ASK, 5);
  expectText('the journal', journal, 'connection refused', 'gave up after', ' tries ');
  say(`systemd-cryptsetup asks once and never again, so it is the handler that keeps trying: for 90 s unless
    configured otherwise, here until another try would end after 2 s. Then come the random bytes, and systemd asks
    for the passphrase.`);
}

async function regainTang(): Promise<void> {
  await run('rm etc/config.yaml');
  waitingFor(TRYING);
  const asked = openDisk();
  const came = asked.then(() => 'one');
  const first = await Promise.race([came, pause(3000, 'none', { signal: stop.signal }).catch(() => 'none')]);
  if (first === 'one') throw new Failure('expected no key while the Tang server is away, got one');
  await tang.start();
  const backMs = performance.now();
  show('... the Tang server is started again');
  waitingFor('it is back, and the handler tries again soon');
  await asked;
  say(`Nobody did anything, and the key was there ${Math.round(performance.now() - backMs)} ms after the Tang server:
    tries are 0.25 s apart at first, and never more than 5 s.`);
}

async function joinServer(): Promise<void> {
  port = await portToKeep();
  command(`luks-key-server serve --listen 127.0.0.1:${port} --state server &`);
  mkdirSync('server');
  await startServer();
  const joined = await run(`luks-key-server invite nas --url https://127.0.0.1:${port} \\
    --socket server/operator.sock --lease 5s --boot-grace 5s |
  fetch-luks-key join --name home --etc etc`);
  expectStatus("fetch-luks-key's", joined.status, 0);
  expectText('the output', joined.output, 'joined home as nas', 'fingerprint');
  say(`The line that invite prints goes to the machine over ssh, say, and is good once. It holds the server's own key,
    so from then on each knows the other by its key alone: no authority, no password, no date. Here a lease is 5 s,
    so that it can be seen to end; by itself it is 15 minutes.`);
}

async function sealToServer(): Promise<void> {
  const sealed = await run(`printf %s "$key" |
  fetch-luks-key seal sss --etc etc '{"t": 2, "pins": {
    "tpm2": {}, "remote": {"server": "home"}}}' \\
    > etc/volumes/data.jwe`);
  expectStatus("fetch-luks-key's", sealed.status, 0);
  const { journal } = await request(ASK_AND_TRY, 0);
  expectText('the journal', journal, 'key delivered', 'remote home');
  say(`The server multiplied a blinded point: it learnt neither the key nor anything that opens it. Before the answer
    left, it was written down.`);
}

async function missLease(): Promise<void> {
  say(`fetch-luks-key-keepalive.service tells the server that the machine lives, with a proof that only who has opened
    the key can make. Here nobody does.`);
  waitingFor('the lease runs out');
  await pause(6000, null, { signal: stop.signal });
  const listed = await run('luks-key-server list --socket server/operator.sock');
  expectText('the list', listed.output, 'nas', 'locked (lease)');
  waitingFor('locked: the handler waits for somebody to act');
  const asked = openDisk();
  const first = await Promise.race([asked.then(() => 'key'), pause(2500, 'none', { signal: stop.signal })]);
  if (first === 'key') throw new Failure('expected no key while the machine is locked, got one');
  const allowed = await run('luks-key-server allow nas --socket server/operator.sock');
  expectText('the answer', allowed.output, 'nas', 'armed');
  await asked;
}

async function revoke(): Promise<void> {
  const revoked = await run('luks-key-server revoke nas --yes --socket server/operator.sock');
  expectText('the answer', revoked.output, 'nas', 'revoked');
  const { journal } = await request(ASK, 4);
  expectText('the journal', journal, 'this machine is revoked');
  const audit = await run('luks-key-server audit show --socket server/operator.sock | tail -n 3');
  expectText('the log', audit.output, 'operator revoke nas', 'recover nas');
  say(`The machine's keys on the server are destroyed: its disk opens with its passphrase alone. What was asked, by
    whom and with what outcome is in a log that cannot be changed unnoticed.`);
}

/** Resolves when it serves. */
async function startServer(): Promise<void> {
  const args = [
    'serve',
    '--listen',
    `127.0.0.1:${port}`,
    '--state',
    'server',
    '--socket',
    'server/operator.sock',
  ];
  const child = spawn('luks-key-server', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise((done) => child.once('exit', done));
  undo.push(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  let said = '';
  child.stderr.setEncoding('utf8');
  await Promise.race([
    ended.then(() => Promise.reject(new Failure(`luks-key-server ended: ${said}`))),
    new Promise<void>((ready) =>
      child.stderr.on('data', (text: string) => {
        said = (said + text).slice(-2000);
        if (said.includes('serving machines')) ready();
      }),
    ),
  ]);
}

/** Asks for the key and hands it to cryptsetup, without a file in between. */
async function openDisk(): Promise<void> {
  const { status, output } = await request(ASK_AND_TRY, 0);
  expectStatus("cryptsetup's", status, 0);
  expectText('the output', output, 'the key opens data.img');
}

/** Runs a line that asks the socket once, and shows what its handler left in the journal. */
async function request(line: string, handlerStatus: number) {
  const seen = socket.journal.length;
  const ended = socket.ended();
  const ran = await run(line);
  const patience = pause(stop.signal.aborted ? 1000 : 10_000, null, { ref: false });
  const status = await Promise.race([ended, patience]);
  const journal = socket.journal.slice(seen).join('\n');
  show(`journal: ${journal}`);
  expectStatus("the handler's", status, handlerStatus);
  return { ...ran, journal };
}

function complain(thrown: unknown): void {
  process.stderr.write(`\ndemo: ${thrown instanceof Error ? thrown.message : thrown}\n`);
}

async function cleanUp(action: () => unknown): Promise<void> {
  try {
    await action();
  } catch (thrown) {
    process.exitCode ??= 1;
    complain(thrown);
  }
}

function farewell(): void {
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  process.stdout.write(`
Every step did what it says, ${seconds} s in all. Every process and file is gone.

Next:
  README.md                   install it, seal your key, move over from Clevis
  dist/fetch-luks-key --help  every command; with COMMAND --help an example
  npm test                    this and the odd cases, against the real tools
`);
}
