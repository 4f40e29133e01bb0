/**
 * Side by side with what people use, in one run: whole processes from connect to end of file through a real socket,
 * against `clevis decrypt` and curl of the same secrets. Writes its part of bench/RESULTS.md.
 */
import { execFileSync, execSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { cpus, release, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Activated, activate } from '../test/support/activation.ts';
import { createAuthority } from '../test/support/certificates.ts';
import { answerNext } from '../test/support/password-agent.ts';
import { startSwtpm } from '../test/support/swtpm.ts';
import { startTang } from '../test/support/tang.ts';
import { enrolling } from './enrol.ts';
import { costs, median, type Pair, paired, startTimeMs } from './measure.ts';
import { writePart } from './results.ts';

const RUNS = 20;
const SECRET = 'correct horse battery staple';
const PIN = 'four words, no less';
const root = resolve(import.meta.dirname, '..');
const executable = join(root, 'dist/fetch-luks-key');
const teardowns: (() => unknown)[] = [];
const afterwards = { teardown: (action: () => unknown) => teardowns.unshift(action) };

const folder = mkdtempSync(join(tmpdir(), 'flk-bench-'));
afterwards.teardown(() => rmSync(folder, { recursive: true }));
const tpm = await startSwtpm();
afterwards.teardown(() => tpm.remove());
const tang = await startTang(afterwards);
const tpm2Config = { pcr_bank: 'sha256', pcr_ids: '7' };
const tangConfig = { url: tang.url, thp: tang.thp };
const configurations: Readonly<Record<string, object>> = {
  tpm2: tpm2Config,
  tang: tangConfig,
  sss: { t: 2, pins: { tpm2: tpm2Config, tang: tangConfig } },
};
const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', TPM2TOOLS_TCTI: tpm.tcti };

function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}

async function main(): Promise<string> {
  say('preparing');
  const url = await serveSecret();
  const etc = join(folder, 'etc');
  mkdirSync(join(etc, 'volumes'), { recursive: true });
  // Sealed keys need no configuration, and Clevis has none.
  const urlEtc = join(folder, 'url-etc');
  mkdirSync(urlEtc);
  writeFileSync(join(urlEtc, 'config.yaml'), `volumes:\n  url: { url: "${url.href}", ca: ${url.ca} }\n`);
  for (const [pin, config] of Object.entries(configurations)) {
    const args = [pin, JSON.stringify(config)];
    const options = { env: environment, input: SECRET };
    writeFileSync(join(etc, 'volumes', `${pin}.jwe`), execFileSync(executable, ['seal', ...args], options));
    writeFileSync(join(folder, `${pin}.clevis`), execFileSync('clevis', ['encrypt', ...args], options));
    tpm.flush();
  }
  writeFileSync(join(folder, 'pin'), PIN);
  const withPin = ['seal', 'tpm2', '{"with_pin": true}', '--tpm2-pin-file', join(folder, 'pin')];
  writeFileSync(
    join(etc, 'volumes/pin.jwe'),
    execFileSync(executable, withPin, { env: environment, input: SECRET }),
  );
  tpm.flush();
  const handlerIn = (etc: string) => ['--etc', etc, '--crypttab', join(folder, 'crypttab')];
  const options = { environment: { TPM2TOOLS_TCTI: tpm.tcti } };
  const ours = await activate(handlerIn(etc), { ...options, program: [executable] });
  afterwards.teardown(() => ours.stop());
  const oursByUrl = await activate(handlerIn(urlEtc), { ...options, program: [executable] });
  afterwards.teardown(() => oursByUrl.stop());

  const sections = [
    introduction(),
    await againstClevis(ours),
    await commands(ours),
    await againstCurl(oursByUrl, url),
    await memoryAndCpu((volume) => handlerIn(volume === 'url' ? urlEtc : etc), options),
    starts(),
    await enrolling(executable, folder, tpm),
  ];
  return `${sections.join('\n\n')}\n`;
}

function introduction(): string {
  const version = (program: string, args: string[]) =>
    execFileSync(program, args, { encoding: 'utf8' }).split('\n')[0];
  const [cpu] = cpus();
  return `# Opening a key

${new Date().toISOString().slice(0, 10)}, \`npm run bench\`. Linux ${release()}, ${cpus().length} × ${cpu?.model.trim()};
Node.js ${process.version}, ${version('swtpm', ['--version'])}, tpm2-tools ${/version="([^"]+)"/.exec(version('tpm2_createprimary', ['-v']) ?? '')?.[1]}, Clevis
${packageVersion('clevis')}, tang ${packageVersion('tang-common')}. Milliseconds are medians of ${RUNS} runs; ratios are medians of the ratios
of ${RUNS} pairs. Machines differ in speed, and one machine from hour to hour: the ratios are what to look at.`;
}

function packageVersion(name: string): string {
  return execFileSync('dpkg-query', ['-W', `-f=\${Version}`, name], { encoding: 'utf8' });
}

/** Asks for a volume and waits until its handler is gone, so that runs do not overlap. */
async function ask(socket: Activated, volume: string): Promise<void> {
  const { bytes, lines } = await socket.askAlone(volume);
  if (bytes.toString() !== SECRET) throw new Error(`${volume}: ${lines.join(' ')}`);
}

async function againstClevis(ours: Activated): Promise<string> {
  const rows: string[] = [];
  for (const pin of Object.keys(configurations)) {
    say(`${pin} against clevis decrypt`);
    // To the end of file, as the client sees it; the handler's end (the flush of its session) is waited for between.
    const open = async () => {
      const bytes = await ours.ask(pin);
      if (bytes.toString() !== SECRET) throw new Error(`${pin}: ${ours.journal.at(-1)}`);
    };
    const theirs = () => {
      const out = execSync(`clevis decrypt < ${folder}/${pin}.clevis`, {
        env: environment,
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      if (out.toString() !== SECRET) throw new Error(`clevis decrypt: ${pin}`);
    };
    const pair = await paired(RUNS, open, theirs, async () => {
      await ours.ended();
      tpm.flush();
    });
    rows.push(row(pin, pair, pin === 'tpm2' ? 0.75 : 0.8));
  }
  return `## From connect to end of file, against \`clevis decrypt\`

Ours: \`systemd-socket-activate --accept\` starts \`dist/fetch-luks-key handle\`, with an encrypted TPM session and without a
config.yaml. Clevis unseals in clear.

| pin | ours, ms | clevis, ms | ratio | bar |
|---|---|---|---|---|
${rows.join('\n')}`;
}

function row(title: string, { oursMs, theirsMs, ratio }: Pair, bar: number): string {
  return `| ${title} | ${oursMs.toFixed(0)} | ${theirsMs.toFixed(0)} | ${ratio.toFixed(2)} | ≤ ${bar.toFixed(2)}${ratio <= bar ? '' : ', **missed**'} |`;
}

/** TPM2_CC_FlushContext and TPM2_CC_GetCapability (TPM 2.0 Part 2 §6.5.2), of which `tpm2_flushcontext -t` consists. */
const FLUSH_CONTEXT = 0x165;
const GET_CAPABILITY = 0x17a;
/** First byte of a transient object's handle (TPM 2.0 Part 2 §7.2). */
const TRANSIENT = 0x80;

async function commands(ours: Activated): Promise<string> {
  say('TPM commands');
  const before = tpm.mark();
  await ask(ours, 'tpm2');
  const all = tpm.commandCount(before);
  const traffic = tpm.traffic(before);
  const flushed = occurrences(traffic, [FLUSH_CONTEXT, TRANSIENT]);
  const listed = occurrences(traffic, [GET_CAPABILITY, 0, 0, 0, 1, TRANSIENT]);
  const clevisBefore = tpm.mark();
  execSync(`clevis decrypt < ${folder}/tpm2.clevis`, {
    env: environment,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const theirs = tpm.commandCount(clevisBefore);
  return `## TPM commands of one unseal

| | commands |
|---|---|
| ours, encrypted session | ${all - flushed - listed} (bar ≤ 19), and ${flushed + listed} to flush objects, which only a TPM without a resource manager needs |
| \`clevis decrypt\`, in clear | ${theirs} |`;
}

/** How often a command code, 4 bytes, stands before these bytes. */
function occurrences(traffic: Buffer, [code = 0, ...next]: readonly number[]): number {
  const sought = Buffer.from([0, 0, code >> 8, code & 0xff, ...next]);
  let count = 0;
  for (let at = traffic.indexOf(sought); at !== -1; at = traffic.indexOf(sought, at + 1)) count++;
  return count;
}

interface SecretServer {
  readonly href: string;
  /** Path of the PEM. */
  readonly ca: string;
}

async function serveSecret(): Promise<SecretServer> {
  const authority = createAuthority('bench');
  const { certificate, key } = authority.issue({ names: ['127.0.0.1'] });
  const server = createServer({ cert: certificate, key }, (_request, response) => void response.end(SECRET));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  afterwards.teardown(() => new Promise((closed) => server.close(closed)));
  const ca = join(folder, 'ca.pem');
  writeFileSync(ca, authority.certificate);
  return { href: `https://127.0.0.1:${(server.address() as AddressInfo).port}/key`, ca };
}

async function againstCurl(ours: Activated, { href, ca }: SecretServer): Promise<string> {
  say('url against curl');
  const script = join(folder, 'curl');
  writeFileSync(script, `#!/bin/sh\nexec curl -sf --cacert ${ca} ${href} >&3\n`);
  chmodSync(script, 0o755);
  const curl = await activate([], { program: [script] });
  const pair = await paired(
    RUNS,
    () => ask(ours, 'url'),
    () => ask(curl, 'url'),
  );
  await curl.stop();
  return `## \`url:\` against curl behind the same socket

| | ms |
|---|---|
| ours | ${pair.oursMs.toFixed(0)} |
| \`curl -sf --cacert … >&3\` | ${pair.theirsMs.toFixed(0)} |`;
}

async function memoryAndCpu(
  handlerOf: (volume: string) => string[],
  options: { environment: Record<string, string> },
): Promise<string> {
  const rows: string[] = [];
  for (const volume of ['tpm2', 'tang', 'sss', 'url', 'pin']) {
    say(`CPU and memory of ${volume}`);
    const record = join(folder, `${volume}.costs`);
    const script = join(folder, `time-${volume}`);
    // time(1) is the process that systemd started, so the handler under it is told that it was meant.
    const command = [
      'exec time -a -o',
      record,
      "-f '%U %S %M'",
      `sh -c 'LISTEN_PID=$$ exec ${executable} "$@"' sh "$@"`,
    ];
    writeFileSync(script, `#!/bin/sh\n${command.join(' ')}\n`);
    chmodSync(script, 0o755);
    const socket = await activate(handlerOf(volume), { ...options, program: [script] });
    for (let run = 0; run < RUNS; run++) {
      const asked = ask(socket, volume);
      if (volume === 'pin') await answerNext('fetch-luks-key:pin', PIN);
      await asked;
    }
    await socket.stop();
    const all = costs(readFileSync(record, 'utf8'));
    const peak = Math.max(...all.map((cost) => cost.peakMiB));
    const bar = volume === 'url' ? '≤ 160' : '–';
    rows.push(
      `| ${volume} | ${median(all.map((cost) => cost.cpuMs)).toFixed(0)} | ${bar} | ${peak.toFixed(0)} | ≤ 100 |`,
    );
  }
  return `## CPU time and peak memory of a handler, its children included

\`time -f '%U %S %M'\`: CPU is user and system time, memory the largest single process of all ${RUNS} runs.
\`pin\` is \`tpm2\` with a PIN, which a password agent answers.

| volume | CPU, ms | bar | peak, MiB | bar |
|---|---|---|---|---|
${rows.join('\n')}`;
}

function starts(): string {
  say("Node's own start");
  const empty = join(folder, 'empty.cjs');
  writeFileSync(empty, '');
  const node = startTimeMs(RUNS, process.execPath, [empty]);
  const handler = startTimeMs(RUNS, executable, ['handle', '--help']);
  return `## Of which Node's own start

| | ms |
|---|---|
| \`node empty.cjs\` | ${node.toFixed(0)} |
| \`dist/fetch-luks-key handle --help\`, our own code loaded | ${handler.toFixed(0)} |`;
}

let status = 0;
try {
  const results = await main();
  writePart(results);
  process.stdout.write(results);
} catch (thrown) {
  say(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
  status = 1;
} finally {
  for (const teardown of teardowns) await teardown();
}
process.exitCode = status;
