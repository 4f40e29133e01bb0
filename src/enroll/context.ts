import { limits } from '../base/limits.ts';
import type { DurableFiles } from '../base/ports.ts';
import type { Secret } from '../base/secret.ts';
import { commitmentsPath } from '../handler/committed.ts';
import type { HandlerWorld } from '../handler/handle.ts';
import type { Places } from '../handler/locate.ts';
import type { Keyslots } from '../luks/keyslots.ts';
import type { EnrolRecord } from './record.ts';
import type { Step } from './steps.ts';
import type { UnitWorld } from './units.ts';

export interface EnrolWorld extends HandlerWorld, UnitWorld {
  readonly durable: DurableFiles;
  /** Wall clock, Unix time. */
  nowUnixMs(): number;
  askSocket(path: string, address: Buffer, maxBytes: number): Promise<Buffer>;
  say(line: string): void;
}

export interface Undoing {
  readonly record: EnrolRecord;
  readonly places: Places;
  readonly keyslots: Keyslots;
  readonly world: EnrolWorld;
  /** The key of the record. @throws AppError when its sealed key does not open */
  key(signal: AbortSignal): Promise<Secret>;
}

export interface Doing extends Undoing {
  /** One that opens the volume already. */
  readonly passphrase: Secret;
  readonly socket: string;
  /** All of it, as it is and as it will be, also when it is not for us to change. */
  readonly crypttab: { readonly before: Buffer; readonly after: Buffer };
}

export type EnrolStep = Step<Doing, Undoing>;

/** The lines of ETC/commitments/VOLUME; none when there is no such file. */
export async function commitmentLines({ record, places, world }: Undoing): Promise<string[]> {
  const path = commitmentsPath(places.etc, record.volume);
  const text = (await world.files.read(path, limits.commitmentsBytes))?.toString() ?? '';
  return text.split('\n').filter((line) => line !== '');
}

/** The same lines as a file, and the record's own among them. */
export function withCommitment(lines: readonly string[], { commitment }: EnrolRecord): Buffer {
  const all = lines.includes(commitment) ? lines : [...lines, commitment];
  return Buffer.from(`${all.join('\n')}\n`);
}
