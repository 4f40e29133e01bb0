import { AppError, asAppError, failureLine } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Clock, DurableFiles, Files, Logger } from '../base/ports.ts';
import type { ServerConnection } from '../base/server-connection.ts';
import { type DigestsAfter, isExtension } from '../server/audit/extension.ts';
import { type HeadJson, headFromJson, isSigned, type SignedHead } from '../server/audit/heads.ts';

type ServerKey = ServerConnection['serverKey'];

export interface WitnessWorld {
  readonly clock: Clock;
  readonly files: Files;
  readonly durable: DurableFiles;
  readonly journal: Logger;
  /** Milliseconds since 1970 (UTC), for the day on which a head was seen. */
  wallMs(): number;
}

/** Folder of the heads, below /etc: that is there before any volume of ours, so a suspended one cannot hang us. */
export const headsFolder = (etc: string) => `${etc}/audit-heads`;

/** A head as it lies in the file: one line of JSON, which `luks-key-server audit verify --witness` reads as a head. */
interface SeenHead extends HeadJson {
  /** The day on which this machine saw it, `2026-11-24`. */
  readonly seen: string;
}

/**
 * Remembers where a server's audit log ended, and follows it from there, so that nobody can rewrite what it records
 * unnoticed, not even its operator.
 */
export class HeadWitness {
  readonly #server: string;
  readonly #folder: string;
  readonly #world: WitnessWorld;
  /** Oldest first; null = the file has not been read yet. */
  #seen: SeenHead[] | null = null;
  #behindSinceMs: number | null = null;
  /** Since when, and how often by now, the server has not answered what leads to a later head. */
  #unshownSinceMs: number | null = null;
  #timesUnshown = 0;
  #isForgedTold = false;
  #isUnwrittenTold = false;

  /** @param folder `headsFolder` */
  constructor(server: string, folder: string, world: WitnessWorld) {
    this.#server = server;
    this.#folder = folder;
    this.#world = world;
  }

  /**
   * @param serverKey whose signature counts
   * @param digests asks the server, who may refuse
   * @returns what is wrong, once it has been told in the journal; null = nothing, or nothing new
   * @throws AppError what `digests` throws, unless it does so each time for `auditHeadLagMs`; the head is not kept then
   */
  async see(head: HeadJson | null, serverKey: ServerKey, digests: DigestsAfter): Promise<string | null> {
    const fault = await this.#faultOf(head, serverKey, digests);
    if (fault === null) return null;
    const hint = 'was it restored from a backup? if not, somebody has rewritten it';
    this.#world.journal.error(`${this.#server}: major alert: ${fault} (hint: ${hint})`);
    return fault;
  }

  async #faultOf(head: HeadJson | null, serverKey: ServerKey, digests: DigestsAfter): Promise<string | null> {
    const seen = await this.#heads();
    const last = seen.at(-1);
    if (head !== null && !isSignedBy(head, serverKey)) {
      const isNews = !this.#isForgedTold;
      this.#isForgedTold = true;
      return isNews ? `a head of its audit log, record ${head.seq}, that its key has not signed` : null;
    }
    this.#isForgedTold = false;
    if (last === undefined) return head === null ? null : this.#keep(head, null);
    if (head === null || head.seq < last.seq) {
      this.#behindSinceMs ??= this.#world.clock.nowMs();
      if (this.#world.clock.nowMs() - this.#behindSinceMs < limits.auditHeadLagMs) return null;
      const fault = `its audit log ended with record ${last.seq}, and now with record ${head?.seq ?? 0}`;
      return this.#keep(head, fault);
    }
    if (head.seq > last.seq) {
      const isLonger = await this.#isLonger(head, last, digests);
      // Another keep-alive's answer came in between: this one is not the news that it was.
      if (this.#seen?.at(-1) !== last) return null;
      const not = isLonger === null ? 'is not shown to' : 'does not';
      const fault = `record ${head.seq} of its audit log ${not} extend record ${last.seq}`;
      return this.#keep(head, isLonger === true ? null : fault);
    }
    this.#agree();
    return head.hash === last.hash
      ? null
      : this.#keep(head, `record ${last.seq} of its audit log has changed`);
  }

  /**
   * Who answers keep-alives and never this hides something. Whose line fails, or who is overloaded, does so once or twice.
   * @returns null when the server has been asked for long enough
   */
  async #isLonger(head: HeadJson, last: SeenHead, digests: DigestsAfter): Promise<boolean | null> {
    try {
      return await isExtension(binary(head), binary(last), digests);
    } catch (thrown) {
      const { code } = asAppError(thrown);
      if (code === 'stopped' || code === 'bug') throw thrown;
      const nowMs = this.#world.clock.nowMs();
      this.#unshownSinceMs ??= nowMs;
      this.#timesUnshown += 1;
      const isLong = nowMs - this.#unshownSinceMs >= limits.auditHeadLagMs;
      if (isLong && this.#timesUnshown >= limits.auditHeadTries) return null;
      throw thrown;
    }
  }

  #agree(): void {
    this.#behindSinceMs = null;
    this.#unshownSinceMs = null;
    this.#timesUnshown = 0;
  }

  /** After a fault all begins anew; what had been seen before is kept beside it, the first time. */
  #keep(head: HeadJson | null, fault: string | null): string | null {
    this.#agree();
    const seen = new Date(this.#world.wallMs()).toISOString().slice(0, 10);
    const before = this.#seen ?? [];
    const earlier = fault === null ? before.filter((one) => one.seen !== seen) : [];
    const added = head === null ? [] : [{ ...head, seen }];
    this.#seen = [...earlier, ...added].slice(-limits.auditHeadsKept);
    try {
      const { durable } = this.#world;
      durable.makeFolder(this.#folder);
      const evidence = `${this.#path}~`;
      if (fault !== null && durable.size(evidence) === null) durable.replace(evidence, linesOf(before));
      durable.replace(this.#path, linesOf(this.#seen));
    } catch (thrown) {
      this.#tellUnwritten(thrown);
    }
    return fault;
  }

  async #heads(): Promise<readonly SeenHead[]> {
    if (this.#seen !== null) return this.#seen;
    try {
      const text = (await this.#world.files.read(this.#path, limits.auditHeadsBytes))?.toString() ?? '';
      this.#seen = text.split('\n').flatMap((line) => (line === '' ? [] : [parseLine(line)]));
    } catch (thrown) {
      this.#tellUnwritten(thrown);
      this.#seen = [];
    }
    return this.#seen;
  }

  /** It goes on in memory alone. */
  #tellUnwritten(thrown: unknown): void {
    if (this.#isUnwrittenTold) return;
    this.#isUnwrittenTold = true;
    const line = failureLine(asAppError(thrown));
    this.#world.journal.warning(`${this.#server}: heads of its audit log: ${line}`);
  }

  get #path(): string {
    return `${this.#folder}/${this.#server}`;
  }
}

function isSignedBy(head: HeadJson, serverKey: ServerKey): boolean {
  const parsed = headFromJson(head);
  return parsed !== null && isSigned(parsed, [serverKey]);
}

/** One that was read by `headFromJson` before. */
function binary(head: HeadJson): SignedHead {
  const parsed = headFromJson(head);
  if (parsed === null) throw new Error('not a head');
  return parsed;
}

function linesOf(heads: readonly SeenHead[]): Buffer {
  return Buffer.from(heads.map((head) => `${JSON.stringify(head)}\n`).join(''));
}

function parseLine(line: string): SeenHead {
  try {
    const value: unknown = JSON.parse(line);
    if (headFromJson(value) !== null) return value as SeenHead;
  } catch {}
  throw new AppError('bad-config', 'expected a signed head in each line; begun anew');
}
