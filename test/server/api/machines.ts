import { createHash, randomBytes } from 'node:crypto';
import type { Test } from 'tap';
import { AppError } from '../../../src/base/errors.ts';
import type { Clock } from '../../../src/base/ports.ts';
import { serverLimits } from '../../../src/base/server-limits.ts';
import { generateEphemeral } from '../../../src/exchange/agreement.ts';
import { curves } from '../../../src/exchange/curve.ts';
import { parseEcKey, toJwk } from '../../../src/exchange/jwk.ts';
import { startRecovery } from '../../../src/exchange/recovery.ts';
import { random } from '../../../src/os/random.ts';
import type { Alert, App } from '../../../src/server/api/app.ts';
import { noCounts } from '../../../src/server/api/counters.ts';
import { operate } from '../../../src/server/api/operator.ts';
import { type Incoming, type Outgoing, serve } from '../../../src/server/api/serve.ts';
import { revoked } from '../../../src/server/machine/operator.ts';
import type { MachineState } from '../../../src/server/machine/state.ts';
import type { OperatorRequest, OperatorResponses } from '../../../src/wire/operator.ts';
import { openAt } from '../store/backends.ts';
import type { Place } from '../store/stores.ts';

const PIN = `sha256/${'A'.repeat(43)}`;
const wrong = (reason: string) => new Error(reason) as never;

/** A server without its listener, whose time is the test's. */
export async function startApp(t: Test, place: Place) {
  let nowMs = 0;
  const sleepers = new Map<() => void, number>();
  const clock: Clock = {
    nowMs: () => nowMs,
    sleep: (ms, signal) =>
      new Promise((wake, stop) => {
        const stopped = () => stop(new AppError('stopped', 'stopped'));
        if (signal.aborted) return stopped();
        signal.addEventListener('abort', stopped, { once: true });
        sleepers.set(wake, nowMs + ms);
      }),
  };
  const store = await openAt(t, place, {
    clock,
    asRevoked: (state) => revoked(state as unknown as MachineState) as never,
  });
  const alerts: Alert[] = [];
  const lines: string[] = [];
  const counters = noCounts();
  const alert = (one: Alert) => void alerts.push(one);
  const upkeep = {} as App['upkeep'];
  const keys = { pin: PIN, next: null, chain: [], publicKeys: [] } as never as App['keys'];
  const app: App = { store, random, clock, alert, counters, keys, latestHead: () => null, upkeep };
  const note = (line: string) => void lines.push(line);
  const log = { warning: note, error: note, stranger: note };
  return {
    app,
    alerts,
    lines,
    /** The lease clock goes on by at most 10 s a tick. */
    async pass(ms: number) {
      for (let left = ms; left > 0; left -= serverLimits.leaseTickMs) {
        nowMs += Math.min(left, serverLimits.leaseTickMs);
        await store.tick();
        for (const [wake, atMs] of sleepers) if (atMs <= nowMs && sleepers.delete(wake)) wake();
      }
    },
    operate: <K extends keyof OperatorResponses>(request: OperatorRequest) =>
      operate(app, request) as Promise<OperatorResponses[K]>,
    ask: (request: Partial<Incoming>): Promise<Outgoing> => {
      const signal = new AbortController().signal;
      const given = {
        method: 'POST',
        path: '/',
        body: undefined,
        address: '192.0.2.1',
        clientPin: null,
        signal,
      };
      return serve(app, { ...given, ...request }, log);
    },
  };
}

export type Server = Awaited<ReturnType<typeof startApp>>;

/** A machine's side of the protocol, with the exchange done for real. */
export class TestMachine {
  readonly pin = randomBytes(32);
  readonly secret = randomBytes(32);
  boot = '0a';
  address = '192.0.2.1';
  kid = '';
  readonly #server: Server;
  #sealed = '';
  #epk = generateEphemeral(curves['P-256']);

  constructor(server: Server) {
    this.#server = server;
  }

  /** @returns the code of the refusal, or the answer */
  async post(path: string, body: unknown, method = 'POST'): Promise<Record<string, unknown>> {
    const outgoing = await this.#server.ask({
      method,
      path,
      body,
      address: this.address,
      clientPin: this.pin,
    });
    if (!('json' in outgoing)) throw new Error('events');
    return outgoing.json as Record<string, unknown>;
  }

  async join(invitation: string) {
    return this.post('/v1/join', { invitation });
  }

  /** Agrees on a content key with a new exchange key, as sealing does. */
  async seal(crv: 'P-256' | 'P-521' = 'P-256') {
    this.#epk = generateEphemeral(curves[crv]);
    const alive = createHash('sha256').update(this.secret).digest('base64url');
    const own = { kid: this.kid, proof: this.secret.toString('base64url') };
    const proof = this.kid === '' ? {} : { proof: own };
    const answer = await this.post('/v1/keys', { crv, alive, boot: this.boot, ...proof });
    if (typeof answer.kid !== 'string') return answer;
    this.kid = answer.kid;
    using agreed = await this.#epk.agree(parseEcKey(answer.key, wrong));
    this.#sealed = agreed.reveal().toString('hex');
    return answer;
  }

  /** @returns `opened`, or the code of the refusal */
  async recover(kid = this.kid): Promise<string> {
    const known = await this.post(`/v1/keys/${this.kid}`, undefined, 'GET');
    if (typeof known.code === 'string') return known.code;
    const recovery = startRecovery(this.#epk.point, parseEcKey(known.key, wrong));
    const answer = await this.post(`/v1/keys/${kid}/recover`, {
      point: toJwk(recovery.blinded),
      boot: this.boot,
    });
    if (typeof answer.code === 'string') return answer.code;
    const candidates = await recovery.unblind(parseEcKey(answer.point, wrong));
    const found = candidates.some((candidate) => candidate.reveal().toString('hex') === this.#sealed);
    return found ? 'opened' : 'wrong point';
  }

  async keepalive(secret: Buffer | null = this.secret) {
    const proof = secret === null ? {} : { proof: { kid: this.kid, proof: secret.toString('base64url') } };
    return this.post('/v1/keepalive', { boot: this.boot, ...proof });
  }

  async announce(withinMs: number, secret = this.secret) {
    const proof = { kid: this.kid, proof: secret.toString('base64url') };
    return this.post('/v1/expect', { boot: this.boot, 'within-ms': withinMs, proof });
  }
}

/** A machine that has joined and sealed a key. */
export async function joinedMachine(server: Server, name: string, policy = {}): Promise<TestMachine> {
  const { invitation } = await server.operate<'invite'>({ command: 'invite', name, policy, rejoin: false });
  const machine = new TestMachine(server);
  await machine.join(invitation);
  await machine.seal();
  return machine;
}
