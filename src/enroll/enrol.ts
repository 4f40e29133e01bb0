import { AppError } from '../base/errors.ts';
import type { Secret } from '../base/secret.ts';
import type { Places } from '../handler/locate.ts';
import type { Keyslots } from '../luks/keyslots.ts';
import type { EnrolWorld } from './context.ts';
import { enrolment } from './enrolment.ts';
import { metadataOf } from './header-steps.ts';
import { type Plan, recordOf } from './plan.ts';
import { canAsk, openSealed } from './prove.ts';
import { begin, type EnrolRecord, settle, type Unfinished, unfinishedPath } from './record.ts';
import { runSteps, undoSteps } from './steps.ts';

/** What was made for a plan, before anything on the disk changes. */
export interface Made {
  readonly key: Secret;
  readonly sealedKey: string;
  /** One that opens the volume already. */
  readonly passphrase: Secret;
  /** Units that are not enabled yet. */
  readonly units: readonly string[];
  /** NV indices of counters that sealing has made. */
  readonly counters?: readonly number[];
}

/** The volume's sealed keys, and the one of them that the new one takes the place of. */
export interface Enrolled {
  readonly all: readonly EnrolRecord[];
  readonly replaced: EnrolRecord | null;
  /** The same key is sealed anew: it keeps its keyslot. */
  readonly keyIsKept: boolean;
}

/**
 * Does what is planned, all of it or nothing; then removes what was replaced.
 * @returns whether the real socket has proven it too
 * @throws AppError what kept it from being done
 */
export async function enrol(
  plan: Plan,
  made: Made,
  enrolled: Enrolled,
  keyslots: Keyslots,
  world: EnrolWorld,
  signal: AbortSignal,
): Promise<boolean> {
  const { places, socket, target, edit } = plan;
  const { all, replaced, keyIsKept } = enrolled;
  const { key, passphrase } = made;
  const sealed = recordOf(plan, key, made.sealedKey, made.units);
  // When Clevis has sealed its own is not known.
  const time = sealed.store.kind === 'clevis' ? {} : { sealedAtMs: world.nowUnixMs() };
  const planned = { ...sealed, ...time, counters: made.counters ?? [] };
  const record = keyIsKept && replaced !== null ? { ...planned, ...keptOf(replaced) } : planned;
  const crypttab = { before: target.crypttab, after: edit.bytes };
  const context = { record, places, keyslots, world, passphrase, socket, crypttab, key: async () => key };
  const others = all.filter((one) => one !== replaced);
  let next: Unfinished | null = null;
  await runSteps(
    enrolment,
    context,
    {
      begin: () => begin(places.etc, { undo: record, enrolled: all }, world.durable),
      undone: () => settle(places.etc, record.volume, all, world.durable),
      async done() {
        const salt = (await metadataOf(context)).salts[record.keyslot] ?? null;
        const lasting = { ...record, salt, keyIsKept: false };
        if (replaced === null) return settle(places.etc, record.volume, [...others, lasting], world.durable);
        const undo = { ...replaced, keyIsKept, units: [], counters: [], crypttab: null };
        next = { undo, enrolled: [...others, inherited(lasting, replaced)] };
        begin(places.etc, next, world.durable);
      },
    },
    world,
    signal,
  );
  const proven = await canAsk(context);
  if (next !== null) await finish(next, places, keyslots, world);
  return proven;
}

/**
 * Undoes what is unfinished: an enrolment that was killed, or what was to be removed.
 * @throws AppError `unavailable` when it cannot be undone now
 */
export async function finish(
  { undo: record, enrolled }: Unfinished,
  places: Places,
  keyslots: Keyslots,
  world: EnrolWorld,
): Promise<void> {
  let opened: Secret | null = null;
  const key = async (signal: AbortSignal) => {
    opened ??= await openSealed({ record, places, world }, signal);
    return opened;
  };
  const context = { record, places, keyslots, world, key };
  const undone = () => settle(places.etc, record.volume, enrolled, world.durable);
  const failures = await undoSteps(enrolment, context, { undone }, world);
  (opened as Secret | null)?.wipe();
  if (failures.length === 0) return;
  const path = unfinishedPath(places.etc, record.volume);
  throw new AppError('unavailable', `${record.volume}: not all could be removed: ${failures.join('; ')}`, {
    hint: `any command that changes its keys tries again; or kill keyslot ${record.keyslot} of ${record.device} if you do not know it, and remove ${path}`,
  });
}

function keptOf({ keyslot, salt }: EnrolRecord): Pick<EnrolRecord, 'keyslot' | 'salt' | 'keyIsKept'> {
  return { keyslot, salt, keyIsKept: true };
}

/** What undoing the new one must undo in the end, since the old one's changes are its own now. */
function inherited(record: EnrolRecord, from: EnrolRecord): EnrolRecord {
  const { store, crypttab } = record;
  const before = from.store.kind === 'file' ? from.store.before : null;
  return {
    ...record,
    store: store.kind === 'file' ? { ...store, before } : store,
    units: [...from.units, ...record.units],
    counters: [...(from.counters ?? []), ...(record.counters ?? [])],
    crypttab:
      crypttab === null || from.crypttab === null
        ? (crypttab ?? from.crypttab)
        : { ...crypttab, before: from.crypttab.before },
  };
}
