import { AppError, asAppError, failureLine } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { ServerConnection } from '../base/server-connection.ts';
import type { Action } from '../config/action.ts';
import type { ServerSettings } from '../config/server.ts';
import type { ProtectMode } from '../protection/settings.ts';
import { ask, connectTo } from '../remote/key-server.ts';
import type { ServerWorld } from '../remote/server-world.ts';
import { eventData } from '../wire/event-stream.ts';
import * as wire from '../wire/machine.ts';
import { Acting, type ActingOptions } from './acting.ts';
import { auditDigests, verdictIn } from './asking.ts';
import type { HeadWitness } from './head-witness.ts';
import type { KeyFollower } from './key-follower.ts';
import { Nap } from './nap.ts';
import { pauseMs, retryMs } from './pace.ts';
import { ProtectionGuard } from './protection-guard.ts';
import { type ReportKind, report } from './report.ts';
import type { KeepaliveWorld, Verdict } from './world.ts';

export interface KeepaliveOptions {
  /** What config.yaml calls the server. */
  readonly name: string;
  readonly settings: ServerSettings;
  readonly actions: Readonly<Record<Verdict, readonly Action[]>>;
  readonly witness: HeadWitness;
  readonly follower: KeyFollower;
  /** How this machine's key is to be protected. */
  readonly protect: ProtectMode;
  readonly world: KeepaliveWorld;
  readonly signal: AbortSignal;
}

/** One server, as this machine keeps itself alive towards it. */
export class ServerKeepalive {
  readonly #name: string;
  readonly #settings: ServerSettings;
  readonly #acting: Acting;
  readonly #witness: HeadWitness;
  readonly #follower: KeyFollower;
  readonly #world: KeepaliveWorld;
  readonly #signal: AbortSignal;
  /** Revoked: nothing will come any more. */
  readonly #over = new AbortController();
  /** Between two keep-alives. */
  readonly #nap: Nap;
  readonly #guard: ProtectionGuard;
  #identity: ReturnType<ServerWorld['identity']> | null = null;
  #hasIdentity = false;
  #verdict: Verdict | null = null;

  constructor({ name, settings, actions, witness, follower, protect, world, signal }: KeepaliveOptions) {
    this.#name = name;
    this.#settings = settings;
    this.#witness = witness;
    this.#follower = follower;
    this.#world = world;
    this.#signal = AbortSignal.any([signal, this.#over.signal]);
    this.#nap = new Nap(world.clock, this.#signal);
    this.#guard = new ProtectionGuard({
      ...{ name, path: settings.identity, mode: protect, world },
      hasKey: () => this.#hasIdentity,
      onAlert: () => this.#nap.wake(),
    });
    const connected: ActingOptions['connected'] = (work) => this.#connected(work);
    this.#acting = new Acting({ server: name, actions, world, signal: this.#signal, connected });
  }

  /** Ends when `signal` aborts, or the machine is revoked. */
  async run(): Promise<void> {
    await Promise.all([
      this.#forever('keep-alive', this.#nap, (connection, well) => this.#keepAlive(connection, well)),
      this.#forever('watch', new Nap(this.#world.clock, this.#signal), (connection, well) =>
        this.#watch(connection, well),
      ),
      this.#guard.run(this.#signal),
    ]);
  }

  /**
   * An outage is no verdict: it is tried again, for ever.
   * @param work calls `well` when the server has given what was asked for: then the next failure is a first one
   */
  async #forever(
    what: string,
    nap: Nap,
    work: (connection: ServerConnection, well: () => void) => Promise<void>,
  ): Promise<void> {
    const { random, journal } = this.#world;
    let failures = 0;
    const well = () => {
      failures = 0;
    };
    while (!this.#signal.aborted) {
      try {
        await this.#connected((connection) => work(connection, well));
      } catch (thrown) {
        const error = asAppError(thrown);
        if (this.#signal.aborted) return;
        if (error.code === 'bug') throw error;
        // It may have joined anew since.
        if (error.cause === 'unknown') this.#identity = null;
        if (verdictIn(error) === null && failures === 0) {
          journal.warning(`${this.#name}: ${what}: ${failureLine(error)}`);
        }
      }
      failures += 1;
      await nap.sleep(retryMs(failures, random));
    }
  }

  async #connected<T>(work: (connection: ServerConnection) => Promise<T>): Promise<T> {
    const { connector } = this.#world.serverWorld;
    const server = { url: this.#settings.url, keys: this.#follower.keys };
    const connection = await connectTo(server, await this.#ownIdentity(), connector, this.#signal);
    try {
      return await work(connection);
    } finally {
      connection.close();
    }
  }

  /** Kept, as a TPM may take a second for it, which a revocation would wait for. */
  #ownIdentity(): ReturnType<ServerWorld['identity']> {
    this.#identity ??= this.#world.serverWorld.identity(this.#settings.identity, this.#signal);
    this.#identity.then(
      () => {
        this.#hasIdentity = true;
      },
      () => {
        this.#identity = null;
      },
    );
    return this.#identity;
  }

  async #keepAlive(connection: ServerConnection, well: () => void): Promise<void> {
    if (this.#verdict === 'locked') await this.#follower.look(connection, this.#signal);
    while (!this.#signal.aborted) {
      const leaseLeftMs = await this.#tellAlive(connection);
      well();
      await this.#tellAlert(connection);
      this.#world.rest();
      await this.#nap.sleep(pauseMs(leaseLeftMs, this.#world.random));
    }
  }

  /** @returns what the lease has left, in milliseconds @throws AppError as `ask` */
  async #tellAlive(connection: ServerConnection): Promise<number | null> {
    const boot = await this.#world.serverWorld.bootId();
    const proof = await this.#world.leftProof(this.#follower.keys.names);
    const body = { boot, 'server-key': this.#follower.newest, ...(proof === null ? {} : { proof }) };
    const { response } = wire.keepalive;
    const asking = ask(connection, 'POST', '/v1/keepalive', body, response, this.#signal);
    const answer = await asking.catch(async (thrown: unknown) => {
      const verdict = verdictIn(thrown);
      if (verdict !== null) await this.#judged(verdict, connection);
      throw thrown;
    });
    this.#armed();
    if (proof !== null) this.#world.keptAlive(this.#settings.pinSha256);
    await this.#follower.see(answer['server-key'], connection, this.#signal);
    const digests = (after: number) => auditDigests(after, connection, this.#signal);
    const fault = await this.#witness.see(answer['audit-head'], connection.serverKey, digests);
    if (fault !== null) await this.#report('audit-head', fault, connection);
    return answer['lease-left-ms'];
  }

  /** An alert that the server did not take goes out again with the next keep-alive. */
  async #tellAlert(connection: ServerConnection): Promise<void> {
    const { alert } = this.#guard;
    if (alert === null) return;
    const isTaken = await this.#report('tpm-protection-unavailable', alert, connection);
    if (isTaken && this.#guard.alert === alert) this.#guard.alert = null;
  }

  #report(kind: ReportKind, text: string, connection: ServerConnection): Promise<boolean> {
    const to = { server: this.#name, journal: this.#world.journal };
    return report({ kind, text }, connection, to, this.#signal);
  }

  async #watch(connection: ServerConnection, well: () => void): Promise<void> {
    const { status, chunks } = await connection.stream('/v1/watch', limits.watchSilenceMs, this.#signal);
    if (status !== 200) throw new AppError('unavailable', `answered ${status}`);
    this.#world.journal.info(`watching ${this.#name}`);
    for await (const data of eventData(chunks)) {
      const told = (JSON.parse(data) as { status?: unknown }).status;
      if (told === 'armed' && this.#verdict === 'locked') this.#nap.wake();
      if ((told === 'locked' || told === 'revoked') && told !== this.#verdict) {
        // Over the connection that is there, which saves a handshake where it still lives.
        this.#nap.wake();
        await this.#confirm(told);
      }
      well();
    }
  }

  /**
   * What the stream says is acted upon when a keep-alive is answered the same, over a connection of its own: a stream
   * may be late, and the other connection may have been idle for longer than something on the way remembers it. Whose
   * answer is first counts.
   * @throws AppError when the line is down: nothing is done
   */
  async #confirm(told: Verdict): Promise<void> {
    try {
      await this.#connected((connection) => this.#tellAlive(connection));
    } catch (thrown) {
      if (verdictIn(thrown) === null) throw thrown;
      return;
    }
    this.#world.journal.info(`${this.#name}: told ${told}, and then otherwise: nothing is done`);
  }

  #armed(): void {
    if (this.#verdict === 'locked') this.#world.journal.info(`${this.#name}: armed again`);
    if (this.#verdict !== 'revoked') this.#verdict = null;
  }

  /** Once for each verdict. */
  async #judged(verdict: Verdict, connection: ServerConnection): Promise<void> {
    if (this.#verdict === verdict) return;
    const before = this.#verdict;
    this.#verdict = verdict;
    try {
      await this.#acting.act(verdict, connection);
      if (verdict === 'revoked') void this.#acting.told().then(() => this.#over.abort());
    } catch (thrown) {
      // It is heard again, and ordered again.
      this.#verdict = before;
      this.#world.journal.error(`${this.#name}: ${verdict}: ${failureLine(asAppError(thrown))}`);
    }
  }
}
