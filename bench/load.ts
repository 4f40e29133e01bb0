/**
 * Asks a server as fast as it answers, or as often as it is told to: one process of its own, on a processor of its own.
 * Reads a job from standard input, prints a tally. Nothing but sockets: HTTP is read for its status and its length.
 */
import { connect as connectPlainly, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { connect, createSecureContext, type SecureContext } from 'node:tls';

export interface Client {
  /** PEM; null = it shows none. */
  readonly certificate: string | null;
  readonly key: string | null;
  /** Which it connects from. */
  readonly address: string;
  /** A whole HTTP request. */
  readonly request: string;
}

export interface Job {
  readonly port: number;
  readonly tls: boolean;
  /** A connection for each request; one for each client that is kept; or the same, each asked once and all held. */
  readonly connections: 'fresh' | 'kept' | 'held';
  readonly clients: readonly Client[];
  readonly seconds: number;
  /** Requests in flight; with `perSecond`, as many as it takes. */
  readonly inFlight: number;
  /** Requests to begin in each second; null = the next when one has ended. */
  readonly perSecond: number | null;
}

export interface Tally {
  readonly requests: number;
  /** Answers that were not 200, by what they were. */
  readonly failures: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly medianMs: number;
  readonly p99Ms: number;
  /** The generator's own processor time. */
  readonly cpuSeconds: number;
}

interface Asking {
  readonly client: Client;
  readonly context: SecureContext | undefined;
  socket: Socket | null;
}

const job = JSON.parse(await text(process.stdin)) as Job;
const all: Asking[] = job.clients.map((client) => ({
  client,
  context:
    client.certificate === null || client.key === null
      ? undefined
      : createSecureContext({ cert: client.certificate, key: client.key, minVersion: 'TLSv1.3' }),
  socket: null,
}));
const idle = [...all];
const times: number[] = [];
const failures: Record<string, number> = {};

if (job.connections === 'kept') for (const one of all) one.socket = await connected(one);
const cpu = process.cpuUsage();
const start = performance.now();
const end = start + job.seconds * 1000;
if (job.connections === 'held') await holdAll();
else await (job.perSecond === null ? closedLoop() : paced(job.perSecond));
const seconds = (performance.now() - start) / 1000;
const { user, system } = process.cpuUsage(cpu);
times.sort((a, b) => a - b);
const tally: Tally = {
  requests: times.length,
  failures,
  seconds,
  medianMs: times[times.length >> 1] ?? Number.NaN,
  p99Ms: times[Math.floor(times.length * 0.99)] ?? Number.NaN,
  cpuSeconds: (user + system) / 1e6,
};
process.stdout.write(`${JSON.stringify(tally)}\n`, () => process.exit(0));

async function closedLoop(): Promise<void> {
  const workers = Array.from({ length: job.inFlight }, async () => {
    while (performance.now() < end) await once(performance.now());
  });
  await Promise.all(workers);
}

/** The server closes at once what has not asked. */
async function holdAll(): Promise<void> {
  const workers = Array.from({ length: job.inFlight }, async () => {
    for (let one = idle.shift(); one !== undefined; one = idle.shift()) {
      const asked = performance.now();
      one.socket = await connected(one);
      const status = await answered(one.socket, one.client.request);
      if (status === '200') times.push(performance.now() - asked);
      else count(status);
    }
  });
  await Promise.all(workers);
}

/** Begins requests on time however late the answers are, as machines do. */
async function paced(perSecond: number): Promise<void> {
  const asked: Promise<void>[] = [];
  for (let now = performance.now(); now < end; now = performance.now()) {
    const due = Math.floor(((now - start) / 1000) * perSecond);
    while (asked.length < due) asked.push(once(start + (asked.length / perSecond) * 1000));
    await new Promise((later) => setTimeout(later, 2));
  }
  await Promise.all(asked);
}

/** @param sinceMs when it should have begun */
async function once(sinceMs: number): Promise<void> {
  const one = idle.shift();
  if (one === undefined) return void count('no connection is free');
  try {
    const socket = one.socket ?? (await connected(one));
    const status = await answered(socket, one.client.request);
    if (job.connections === 'fresh') socket.destroy();
    if (status === '200') times.push(performance.now() - sinceMs);
    else count(status);
  } catch (thrown) {
    one.socket = null;
    count(thrown instanceof Error ? thrown.message : String(thrown));
  }
  idle.push(one);
}

function count(failure: string): void {
  failures[failure] = (failures[failure] ?? 0) + 1;
}

function connected({ client, context }: Asking): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const place = { host: '127.0.0.1', port: job.port, localAddress: client.address };
    const socket: Socket = job.tls
      ? connect({
          ...place,
          ...(context === undefined ? {} : { secureContext: context }),
          rejectUnauthorized: false,
          minVersion: 'TLSv1.3',
        })
      : connectPlainly(place);
    socket.setNoDelay(true);
    socket.once(job.tls ? 'secureConnect' : 'connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** @returns the status of the answer, which was read to its end */
function answered(socket: Socket, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let got = '';
    const ended = () => {
      socket.off('data', take).off('error', failed).off('close', closed);
    };
    const take = (chunk: Buffer) => {
      got += chunk.toString('latin1');
      const body = got.indexOf('\r\n\r\n') + 4;
      if (body === 3) return;
      const length = Number(/\r\ncontent-length: *(\d+)/i.exec(got)?.[1] ?? 0);
      if (got.length < body + length) return;
      ended();
      resolve(got.slice(9, 12));
    };
    const failed = (error: Error) => {
      ended();
      reject(error);
    };
    const closed = () => failed(new Error('closed without an answer'));
    socket.on('data', take).on('error', failed).on('close', closed);
    socket.write(request);
  });
}
