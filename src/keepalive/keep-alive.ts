import { AppError, asAppError, failureLine } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { ServerConnection } from '../base/server-connection.ts';
import type { Action } from '../config/action.ts';
import type { ServerSettings } from '../config/server.ts';
import { ask, connectTo } from '../remote/key-server.ts';
import { eventData } from '../wire/event-stream.ts';
import * as wire from '../wire/machine.ts';
import { pauseMs, retryMs } from './pace.ts';
import type { KeepaliveWorld, Verdict } from './world.ts';

/** One server, as this machine keeps itself alive towards it. */
export class ServerKeepalive {
  readonly #name: string;
  readonly #settings: ServerSettings;
  readonly #actions: Readonly<Record<Verdict, readonly Action[]>>;
  readonly #world: KeepaliveWorld;
  readonly #signal: AbortSignal;
  /** Revoked: nothing will come any more. */
  readonly #over = new AbortController();
  #verdict: Verdict | null = null;

  constructor(
    name: string,
    settings: ServerSettings,
    actions: Readonly<Record<Verdict, readonly Action[]>>,
    world: KeepaliveWorld,
    signal: AbortSignal,
  ) {
    this.#name = name;
    this.#settings = settings;
    this.#actions = actions;
    this.#world = world;
    this.#signal = AbortSignal.any([signal, this.#over.signal]);
  }

  /** Ends when `signal` aborts, or the machine is revoked. */
  async run(): Promise<void> {
    await Promise.all([
      this.#forever('keep-alive', (connection) => this.#keepAlive(connection)),
      this.#forever('watch', (connection) => this.#watch(connection)),
    ]);
  }

  /** An outage is no verdict: it is tried again, for ever. */
  async #forever(what: string, work: (connection: ServerConnection) => Promise<void>): Promise<void> {
    const { clock, random, journal } = this.#world;
    let failures = 0;
    while (!this.#signal.aborted) {
      try {
        await this.#connected(async (connection) => {
          failures = 0;
          await work(connection);
        });
      } catch (thrown) {
        const error = asAppError(thrown);
        if (this.#signal.aborted) return;
        if (error.code === 'bug') throw error;
        if (!(await this.#heed(error)) && failures === 0) {
          journal.warning(`${this.#name}: ${what}: ${failureLine(error)}`);
        }
      }
      failures += 1;
      await clock.sleep(retryMs(failures, random), this.#signal).catch(() => {});
    }
  }

  async #connected(work: (connection: ServerConnection) => Promise<void>): Promise<void> {
    const { serverWorld } = this.#world;
    const identity = await serverWorld.identity(this.#settings.identity, this.#signal);
    const connection = await connectTo(this.#settings, identity, serverWorld.connector, this.#signal);
    try {
      await work(connection);
    } finally {
      connection.close();
    }
  }

  async #keepAlive(connection: ServerConnection): Promise<void> {
    const { clock, random, serverWorld } = this.#world;
    const boot = await serverWorld.bootId();
    while (!this.#signal.aborted) {
      const proof = await this.#world.leftProof(this.#settings.pinSha256);
      const body = { boot, ...(proof === null ? {} : { proof }) };
      const answer = await ask(
        connection,
        'POST',
        '/v1/keepalive',
        body,
        wire.keepalive.response,
        this.#signal,
      );
      this.#armed();
      await clock.sleep(pauseMs(answer['lease-left-ms'], random), this.#signal).catch(() => {});
    }
  }

  async #watch(connection: ServerConnection): Promise<void> {
    const { status, chunks } = await connection.stream('/v1/watch', limits.watchSilenceMs, this.#signal);
    if (status !== 200) throw new AppError('unavailable', `answered ${status}`);
    this.#world.journal.info(`watching ${this.#name}`);
    for await (const data of eventData(chunks)) {
      const told = (JSON.parse(data) as { status?: unknown }).status;
      if (told === 'armed') this.#armed();
      else if (told === 'locked' || told === 'revoked') await this.#judged(told);
    }
  }

  #armed(): void {
    if (this.#verdict === 'locked') this.#world.journal.info(`${this.#name}: armed again`);
    if (this.#verdict !== 'revoked') this.#verdict = null;
  }

  /** @returns whether the server itself, who proved its key, has said that this machine is locked or revoked */
  async #heed(error: AppError): Promise<boolean> {
    const { cause } = error;
    if (cause !== 'locked' && cause !== 'revoked') return false;
    await this.#judged(cause);
    return true;
  }

  /** Once for each verdict. The report leaves before the action, which may end this machine's network. */
  async #judged(verdict: Verdict): Promise<void> {
    if (this.#verdict === verdict) return;
    this.#verdict = verdict;
    await this.#act(verdict);
    if (verdict === 'revoked') this.#over.abort();
  }

  async #act(verdict: Verdict): Promise<void> {
    const actions = this.#actions[verdict].map((action) => (typeof action === 'string' ? action : 'run'));
    const what = actions.length === 0 ? 'nothing is configured to be done' : `doing ${actions.join(', ')}`;
    this.#world.journal.warning(`${this.#name}: this machine is ${verdict}: ${what}`);
    if (actions.length === 0) return;
    const report = { kind: 'acted', text: `${verdict}: ${actions.join(', ')}` };
    await this.#connected(async (connection) => {
      await ask(connection, 'POST', '/v1/alerts', report, wire.alert.response, this.#signal);
    }).catch((thrown: unknown) =>
      this.#world.journal.warning(`${this.#name}: report: ${asAppError(thrown).message}`),
    );
    this.#world.order(verdict);
  }
}
