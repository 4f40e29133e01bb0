import type { CrypttabEntry } from '../luks/crypttab.ts';
import { type Assumption, type BootOrder, escapeForUnit } from './boot-order.ts';

/** Units in a row, each of which waits for the next. */
export type Chain = readonly string[];

/** Stands for the service of one connection. */
export const HANDLER = 'fetch-luks-key@doctor.service';

/** `/run/fetch-luks-key/INSTANCE.sock` → `fetch-luks-key@INSTANCE.socket`. */
export function socketUnit({ keyFile }: CrypttabEntry): string {
  const instance = (keyFile ?? '').replace(/^.*\//, '').replace(/\.sock$/, '');
  return `fetch-luks-key@${instance}.socket`;
}

/** Volumes that the generator treats alike have one answer: each question costs a twentieth of a second. */
export class Questions {
  readonly #order: BootOrder;
  readonly #answers = new Map<string, Promise<Chain | null>>();

  constructor(order: BootOrder) {
    this.#order = order;
  }

  /** Whether the boot has a job for the unit: were that to be before and after all the boot, there would be a cycle. */
  async isStarted(unit: string, beside: Assumption = {}): Promise<boolean> {
    const cycles = await this.#order.cycles({
      ...beside,
      [unit]: '[Unit]\nAfter=default.target\nBefore=default.target\n',
    });
    return cycles.some((cycle) => cycle.includes(unit));
  }

  /** Whether the socket listens before the volume's unit starts: were it to wait for that, there would be a cycle. */
  async socketIsFirst(entry: CrypttabEntry, unit: string): Promise<boolean> {
    const socket = socketUnit(entry);
    const assumption = { [socket]: `[Unit]\nAfter=${unit}\n`, ...starting(unit) };
    return (await this.#ask(entry, socket, assumption, [socket, unit])) !== null;
  }

  /** Whether a unit that is started has started another one before: were that to wait for it, there would be a cycle. */
  async startsBefore(first: string, then: string): Promise<boolean> {
    if (!(await this.isStarted(first, starting(then)))) return false;
    const assumption = { [first]: `[Unit]\nAfter=${then}\n`, ...starting(then) };
    return from(await this.#order.cycles(assumption), [first, then]) !== null;
  }

  /** Whether `awaited`, which the volume's key needs, itself waits for the volume. */
  async waits(entry: CrypttabEntry, unit: string, awaited: string): Promise<Chain | null> {
    const device = `dev-mapper-${escapeForUnit(entry.volume)}.device`;
    const assumption = {
      [unit]: `[Unit]\nWants=${awaited}\nAfter=${awaited}\n`,
      // A mount of the volume waits for the device, which is there once it is open.
      [device]: `[Unit]\nAfter=${unit}\n`,
      ...starting(unit),
    };
    return await this.#ask(entry, awaited, assumption, [awaited, unit]);
  }

  #ask(entry: CrypttabEntry, what: string, assumption: Assumption, mentions: Chain): Promise<Chain | null> {
    const kind = ['_netdev', 'nofail'].filter((option) => entry.options.includes(option));
    // A mount may wait for this volume and no other.
    const own = what === HANDLER ? entry.volume : '';
    const key = [what, ...kind, own].join(' ');
    let answer = this.#answers.get(key);
    if (answer === undefined) {
      answer = this.#order.cycles(assumption).then((all) => from(all, mentions));
      this.#answers.set(key, answer);
    }
    return answer;
  }
}

/** One that a mount starts, or a target that is not enabled: whether it is started is another question. */
function starting(unit: string): Assumption {
  return { 'default.target': `[Unit]\nWants=${unit}\n` };
}

/** The cycle that has these units, as a row that begins with the first of them. */
function from(cycles: readonly Chain[], mentions: Chain): Chain | null {
  const [start = ''] = mentions;
  const cycle = cycles.find((one) => mentions.every((unit) => one.includes(unit)));
  if (cycle === undefined) return null;
  const at = cycle.indexOf(start);
  return [...cycle.slice(at), ...cycle.slice(0, at)];
}
