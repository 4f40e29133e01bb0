/**
 * The key server beside tangd, by the same load generator, in one run; then keep-alives, and how cost grows with the
 * number of machines. Server on one processor, generator on another. Writes its part of bench/RESULTS.md.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { serverLimits } from '../src/base/server-limits.ts';
import { generateEphemeral } from '../src/exchange/agreement.ts';
import { curves } from '../src/exchange/curve.ts';
import { toJwk } from '../src/exchange/jwk.ts';
import { selfSigned } from '../test/support/certificates.ts';
import { type Asker, makeFleet } from '../test/support/fleet.ts';
import { portToKeep } from '../test/support/ports.ts';
import type { Client, Job, Tally } from './load.ts';
import { median } from './measure.ts';
import { writePart } from './results.ts';

const SECONDS = 6;
const ROUNDS = 3;
const ASKERS = 1_000;
const HELD = serverLimits.connections;
const SIZES = [100, 10_000, 100_000];
const root = resolve(import.meta.dirname, '..');
const executable = join(root, 'dist/luks-key-server');
const TANGD = '/usr/libexec/tangd';
const teardowns: (() => unknown)[] = [];
const folder = mkdtempSync(join(tmpdir(), 'server-bench-'));
teardowns.unshift(() => rmSync(folder, { recursive: true }));

function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}

interface Running {
  readonly pid: number;
  /** From its start until it serves. */
  readonly startMs: number;
  stop(): Promise<void>;
}

/** The built server, on the first processor. */
async function startServer(args: readonly string[]): Promise<Running> {
  const startMs = performance.now();
  const child = spawn('taskset', ['--cpu-list', '0', executable, 'serve', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lines: string[] = [];
  await new Promise<void>((ready, failed) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      lines.push(line);
      if (line.includes('serving machines')) ready();
    });
    child.once('exit', (status) => failed(new Error(`server ended with ${status}: ${lines.join(' ')}`)));
  });
  const took = performance.now() - startMs;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    child.kill();
    await gone;
  };
  teardowns.unshift(() => child.kill('SIGKILL'));
  return { pid: child.pid ?? 0, startMs: took, stop };
}

/** tangd as its package starts it: a process for each connection, that systemd starts. */
async function startTangd(): Promise<{ port: number; kid: string }> {
  const database = join(folder, 'tang');
  execFileSync('mkdir', [database]);
  execFileSync('/usr/libexec/tangd-keygen', [database], { stdio: 'ignore' });
  const files = execFileSync('sh', ['-c', `ls ${database}/*.jwk`], { encoding: 'utf8' })
    .trim()
    .split('\n');
  const exchange = files.find((file) => readFileSync(file, 'utf8').includes('deriveKey'));
  const kid = execFileSync('jose', ['jwk', 'thp', '-a', 'S256', '-i', exchange ?? ''], { encoding: 'utf8' });
  const port = await portToKeep();
  const listen = ['systemd-socket-activate', '--accept', '--inetd', '-l', `127.0.0.1:${port}`];
  const child = spawn('taskset', ['--cpu-list', '0', ...listen, TANGD, database], { stdio: 'ignore' });
  teardowns.unshift(() => child.kill('SIGKILL'));
  await pause(1000);
  return { port, kid: kid.trim() };
}

/** Runs a job on the second processor. */
async function load(job: Job): Promise<Tally> {
  const script = join(import.meta.dirname, 'load.ts');
  const child = spawn('taskset', ['--cpu-list', '1', process.execPath, '--no-warnings', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(JSON.stringify(job));
  let output = '';
  for await (const chunk of child.stdout.setEncoding('utf8')) output += chunk;
  const tally = JSON.parse(output) as Tally;
  const failed = Object.entries(tally.failures);
  if (failed.length > 0) say(`failures: ${failed.map(([what, times]) => `${times} × ${what}`).join(', ')}`);
  return tally;
}

function post(path: string, body: object | string): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return `POST ${path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
}

const pointOn = (crv: 'P-256' | 'P-521') => toJwk(generateEphemeral(curves[crv]).point);

const recoverOf = (asker: Asker): Client => ({
  ...clientOf(asker),
  request: post(`/v1/keys/${asker.kid}/recover`, { point: { ...POINT, crv: 'P-256' }, boot: asker.boot }),
});
const keepaliveOf = (asker: Asker): Client => ({
  ...clientOf(asker),
  request: post('/v1/keepalive', { boot: asker.boot, proof: { kid: asker.kid, proof: asker.proof } }),
});
const clientOf = ({ identity, address }: Asker) => ({
  certificate: identity.certificate.toString(),
  key: identity.key.toString(),
  address,
});
const POINT = pointOn('P-256');

const perSecond = ({ requests, seconds }: Tally) => requests / seconds;
const cpuOf = (pid: number): number => {
  const [, , , , , , , , , , , user = 0, system = 0] = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/\(.*\)/, '-')
    .split(' ')
    .slice(2)
    .map(Number);
  return (user + system) / 100;
};
const memoryMiB = (pid: number, of: 'VmRSS' | 'VmHWM'): number =>
  Number(new RegExp(`${of}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024;

async function main(): Promise<string> {
  const sections = [introduction(), await besideTangd(), await growth()];
  return `${sections.join('\n\n')}\n`;
}

function introduction(): string {
  const version = (name: string) =>
    execFileSync('dpkg-query', ['-W', `-f=\${Version}`, name], { encoding: 'utf8' });
  const [cpu] = cpus();
  return `# Key server

${new Date().toISOString().slice(0, 10)}, \`npm run bench:server\`. Linux ${release()}, ${cpus().length} × ${cpu?.model.trim()}; Node.js ${process.version},
tang ${version('tang-common')}. One server process on one processor, the load generator on another; SQLite with full
sync. Each figure is the median of ${ROUNDS} runs of ${SECONDS} s, one program after the other in each round.`;
}

async function besideTangd(): Promise<string> {
  say('making a fleet');
  const state = join(folder, 'state');
  const askers = await makeFleet(state, ASKERS, ASKERS);
  const [port, tangPort] = [await portToKeep(), await portToKeep()];
  const [certificate, key] = [join(folder, 'tang.crt'), join(folder, 'tang.key')];
  const own = selfSigned({});
  writeFileSync(certificate, own.certificate);
  writeFileSync(key, own.key, { mode: 0o600 });
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `tang: { listen: '127.0.0.1:${tangPort}', certificate: ${certificate}, key: ${key} }\n`,
  );
  const socket = join(state, 'operator.sock');
  const args = ['--config', config, '--listen', `127.0.0.1:${port}`, '--state', state, '--socket', socket];
  const server = await startServer(args);
  const tangd = await startTangd();

  const invited = JSON.parse(
    execFileSync(
      executable,
      [
        'invite',
        'clevis',
        '--tang',
        '--from',
        '127.0.0.0/8',
        '--url',
        `https://127.0.0.1:${tangPort}`,
        '--socket',
        socket,
        '--json',
      ],
      { encoding: 'utf8' },
    ),
  ) as { url: string };
  const path = new URL(invited.url).pathname;
  const advertisement = execFileSync('curl', ['-sk', `https://127.0.0.1:${tangPort}${path}/adv`], {
    encoding: 'utf8',
  });
  const keys = JSON.parse(
    Buffer.from((JSON.parse(advertisement) as { payload: string }).payload, 'base64url').toString(),
  );
  writeFileSync(
    join(folder, 'exchange.jwk'),
    JSON.stringify(keys.keys.find((one: { key_ops: string[] }) => one.key_ops.includes('deriveKey'))),
  );
  const kid = execFileSync('jose', ['jwk', 'thp', '-a', 'S256', '-i', join(folder, 'exchange.jwk')], {
    encoding: 'utf8',
  }).trim();

  const point521 = { ...pointOn('P-521'), alg: 'ECMR', key_ops: ['deriveKey'] };
  const strangers = askers.map(({ address }) => ({ certificate: null, key: null, address }));
  const tangClients = strangers.map((one) => ({ ...one, request: post(`/rec/${tangd.kid}`, point521) }));
  const faceClients = strangers.map((one) => ({ ...one, request: post(`${path}/rec/${kid}`, point521) }));
  const jobs: Readonly<Record<string, Job>> = {
    tangd: job(tangd.port, false, 'fresh', tangClients),
    fresh: job(port, true, 'fresh', askers.map(recoverOf)),
    kept: job(port, true, 'kept', askers.slice(0, 500).map(recoverOf)),
    face: job(tangPort, true, 'fresh', faceClients),
  };
  const tallies: Record<string, (Tally & { serverCpu: number })[]> = {};
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, one] of Object.entries(jobs)) {
      const before = cpuOf(server.pid);
      const tally = await load(one);
      const serverCpu = cpuOf(server.pid) - before;
      say(
        `${name}: ${perSecond(tally).toFixed(0)}/s, p99 ${tally.p99Ms.toFixed(0)} ms, generator ${((tally.cpuSeconds / tally.seconds) * 100).toFixed(0)} %, server ${((serverCpu / tally.seconds) * 100).toFixed(0)} %`,
      );
      tallies[name] = [...(tallies[name] ?? []), { ...tally, serverCpu }];
    }
  }
  const rate = (name: string) => median((tallies[name] ?? []).map(perSecond));
  const ratio = (name: string) =>
    median(
      (tallies[name] ?? []).map(
        (tally, round) => perSecond(tally) / perSecond(tallies.tangd?.[round] as Tally),
      ),
    );
  const busy = (name: string) =>
    median((tallies[name] ?? []).map((tally) => (tally.cpuSeconds / tally.seconds) * 100));
  const row = (title: string, name: string, bar: string) =>
    `| ${title} | ${rate(name).toFixed(0)} | ${ratio(name).toFixed(2)} | ${bar} | ${busy(name).toFixed(0)} % |`;

  say('keep-alives');
  const keepalives = askers.map(keepaliveOf);
  const most = await load(job(port, true, 'kept', keepalives));
  say(`keep-alives, as many as it can: ${perSecond(most).toFixed(0)}/s`);
  const paced = await load({ ...job(port, true, 'kept', keepalives), perSecond: 3_000 });
  say(`keep-alives, 3,000/s: ${perSecond(paced).toFixed(0)}/s, p99 ${paced.p99Ms.toFixed(0)} ms`);
  const memory = memoryMiB(server.pid, 'VmRSS');
  await server.stop();

  say(`${HELD} idle connections`);
  const patient = await startServer(args);
  const alone = memoryMiB(patient.pid, 'VmRSS');
  // As many from one machine as it takes: the listener's limit is what is filled.
  const clients = Array.from({ length: HELD }, (_, index) => keepalives[index % ASKERS] as Client);
  const held = await load(job(port, true, 'held', clients));
  const peak = memoryMiB(patient.pid, 'VmHWM');
  await patient.stop();
  return `## Recover calls, against \`tangd\`

\`tangd\` with its P-521 keys over plain HTTP, a process for each connection (\`systemd-socket-activate --accept --inetd\`).
Ours over TLS 1.3 with a certificate on both sides, state and audit record on the disk before each answer. ${jobs.fresh?.inFlight} in
flight. The last column is how busy the generator was: near 100 % it was not the server that was measured.

| | per second | against tangd | bar | generator |
|---|---|---|---|---|
${row('`tangd`', 'tangd', '–')}
${row('P-256, fresh connections', 'fresh', '≥ 1.5')}
${row('P-256, kept connections', 'kept', '≥ 5')}
${row('P-521, Tang face, fresh connections', 'face', '≥ 0.5')}

## Keep-alives, ${ASKERS.toLocaleString('en')} kept connections

| | per second | median, ms | 99th percentile, ms | bar |
|---|---|---|---|---|
| as many as it can, ${jobs.fresh?.inFlight} in flight | ${perSecond(most).toFixed(0)} | ${most.medianMs.toFixed(1)} | ${most.p99Ms.toFixed(1)} | ≥ 3,000/s |
| 3,000 a second, each on time | ${perSecond(paced).toFixed(0)} | ${paced.medianMs.toFixed(1)} | ${paced.p99Ms.toFixed(1)} | ≤ 100 ms |

The server's resident memory afterwards: ${memory.toFixed(0)} MiB.

## Idle connections, as many as the listener takes

${held.requests.toLocaleString('en')} connections of ${ASKERS.toLocaleString('en')} machines, each of which asked once and then kept still. Resident memory rose from ${alone.toFixed(0)} MiB
to ${peak.toFixed(0)} MiB at most: ${(((peak - alone) * 1024) / held.requests).toFixed(0)} KiB for each.`;
}

function job(port: number, tls: boolean, connections: Job['connections'], clients: readonly Client[]): Job {
  return { port, tls, connections, clients, seconds: SECONDS, inFlight: 32, perSecond: null };
}

/** The same load on stores of different sizes; the ratio of two is of runs side by side. */
async function growth(): Promise<string> {
  const servers: { size: number; port: number; askers: Asker[]; server: Running }[] = [];
  for (const size of SIZES) {
    say(`a fleet of ${size}`);
    const state = join(folder, `state-${size}`);
    const askers = await makeFleet(state, size, Math.min(size, 100));
    const port = await portToKeep();
    const config = join(folder, 'empty.yaml');
    writeFileSync(config, '{}\n');
    const args = [
      '--config',
      config,
      '--listen',
      `127.0.0.1:${port}`,
      '--state',
      state,
      '--socket',
      `${state}/operator.sock`,
    ];
    servers.push({ size, port, askers, server: await startServer(args) });
  }
  const rates = new Map<string, number[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const { size, port, askers } of servers) {
      for (const [what, of] of [
        ['recover', recoverOf],
        ['keepalive', keepaliveOf],
      ] as const) {
        // One at a time: what one costs, and within the rate that a machine may ask at.
        const one = { ...job(port, true, 'kept', askers.map(of)), inFlight: 1, perSecond: null, seconds: 3 };
        const tally = await load(one);
        say(`${what} of ${size}: ${tally.medianMs.toFixed(2)} ms`);
        const name = `${what} ${size}`;
        rates.set(name, [...(rates.get(name) ?? []), tally.medianMs]);
      }
    }
  }
  const rows = servers.map(({ size, server }) => {
    const cells = ['keepalive', 'recover'].map((what) => {
      const [own = [], least = []] = [rates.get(`${what} ${size}`), rates.get(`${what} ${SIZES[0]}`)];
      const ratio = median(own.map((ms, round) => ms / (least[round] ?? Number.NaN)));
      return `${median(own).toFixed(2)} | ${ratio.toFixed(2)}`;
    });
    return `| ${size.toLocaleString('en')} | ${cells.join(' | ')} | ${(server.startMs / 1000).toFixed(1)} | ${memoryMiB(server.pid, 'VmRSS').toFixed(0)} |`;
  });
  for (const { server } of servers) await server.stop();
  return `## How cost grows with the number of machines

One request after the other, on kept connections of 100 machines; medians. Bars: a ratio ≤ 1.3, start ≤ 3 s, memory ≤ 300 MiB.

| machines | keep-alive, ms | of 100's | recover, ms | of 100's | start, s | memory, MiB |
|---|---|---|---|---|---|---|
${rows.join('\n')}`;
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
