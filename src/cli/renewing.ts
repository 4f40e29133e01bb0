import { AppError } from '../base/errors.ts';
import type { VolumeName } from '../base/names.ts';
import type { Secret } from '../base/secret.ts';
import { type Plan, planFor } from '../enroll/plan.ts';
import type { Policy } from '../enroll/policy.ts';
import { type EnrolRecord, enrolledOf } from '../enroll/record.ts';
import { findTarget } from '../enroll/target.ts';
import type { Places } from '../handler/locate.ts';
import { findInCrypttab } from '../luks/crypttab.ts';
import { make, unitReport } from './enrolling.ts';
import type { SealingWorld } from './tpm-pin.ts';
import type { World } from './world.ts';

/** The sealed keys that `enroll` made. @throws AppError `unknown-volume` when there are none */
export async function enrolledHere(
  volume: VolumeName,
  { etc }: Places,
  world: World,
): Promise<EnrolRecord[]> {
  const all = await enrolledOf(etc, volume, world.files);
  if (all.length > 0) return all;
  throw new AppError('unknown-volume', `${volume}: enroll has made no key for it`, {
    hint: `a new one: fetch-luks-key enroll ${volume}`,
  });
}

/** Of these, those whose keys are ours to replace. @throws AppError `refused` when there are none */
export function renewable(all: readonly EnrolRecord[]): EnrolRecord[] {
  const own = all.filter(({ store }) => store.kind !== 'clevis');
  if (own.length > 0) return own;
  throw new AppError('refused', `${all[0]?.volume}: its key is Clevis’ own`, {
    hint: 'clevis luks regen makes a new one; then fetch-luks-key adopt again',
  });
}

/** How a sealed key is to be replaced. */
export interface Renewal {
  readonly old: EnrolRecord;
  readonly policy: Policy;
  /** The new one, or the old one's: it then keeps its keyslot. */
  readonly key: Secret;
  readonly keyIsKept: boolean;
  /** One that opens the volume already. */
  readonly passphrase: Secret;
  /** Options that the policy needs may be added. */
  readonly editCrypttab: boolean;
  readonly trusting: boolean;
}

export interface Renewed {
  readonly plan: Plan;
  readonly bySocket: boolean;
}

/** Makes the new one, proves it, and removes the old one. */
export async function renew(
  command: string,
  renewal: Renewal,
  places: Places,
  world: SealingWorld,
): Promise<Renewed> {
  const { old, policy, key, keyIsKept, passphrase, editCrypttab, trusting } = renewal;
  const { volume, device, uuid, socket, store } = old;
  const entry = await findInCrypttab(world.files, places.crypttab, volume);
  const target = await findTarget(volume, places.crypttab, entry === null ? device : null, world.files);
  if (target.uuid !== uuid) {
    throw new AppError('refused', `${target.device}: expected the LUKS volume ${uuid}, got ${target.uuid}`);
  }
  const wishes = { policy, places, socket, inFile: store.kind === 'file', editCrypttab };
  const plan = await planFor(target, wishes, world.files);
  const units = editCrypttab ? (await unitReport(plan, world)).enabled : [];
  const all = await enrolledOf(places.etc, volume, world.files);
  const replaced = all.find((one) => one.sealedKey === old.sealedKey) ?? null;
  const enrolled = { all, replaced, keyIsKept };
  const bySocket = await make(command, plan, { key, passphrase, units }, enrolled, trusting, world);
  return { plan, bySocket };
}

/** One line for people, or for programs. @param verb `rotated` */
export function renewedText(
  verb: string,
  { old, keyIsKept }: Renewal,
  { plan, bySocket }: Renewed,
  milliseconds: number,
  json: boolean,
): string {
  const { volume, keyslot } = old;
  const now = keyIsKept ? keyslot : plan.keyslot;
  const policy = plan.policy.title;
  if (json) {
    const provenBy = bySocket ? 'socket' : 'sealed key';
    const keyslots = { keyslot: Number(now), 'old-keyslot': Number(keyslot) };
    return `${JSON.stringify({ volume, policy, ...keyslots, 'proven-by': provenBy, milliseconds })}\n`;
  }
  const proof = bySocket ? 'the socket opens it' : 'its sealed key opens it';
  const slots = keyIsKept ? `keyslot ${now} as before` : `keyslot ${keyslot} → ${now}`;
  return `${verb} ${volume} in ${(milliseconds / 1000).toFixed(1)} s: ${policy}, ${slots}, ${proof}\n`;
}
