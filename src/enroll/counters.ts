import { AppError, asAppError, failureLine } from '../base/errors.ts';
import { volumeName } from '../base/names.ts';
import type { Files } from '../base/ports.ts';
import type { EnrolStep, EnrolWorld } from './context.ts';
import type { Policy } from './policy.ts';
import { enrolledOf } from './record.ts';

/** NV indices of the counters that a policy needs, as it spells them. */
export function countersIn({ config }: Pick<Policy, 'config'>): string[] {
  return Object.entries(config).flatMap(([name, value]) => {
    if (name === 'rollback_counter' && typeof value === 'string') return [value];
    return typeof value === 'object' && value !== null ? countersIn({ config: value }) : [];
  });
}

/**
 * `retire` of one volume would retire the keys of another that has the same counter, and nobody would know before the boot.
 * @throws AppError `refused`; `damaged` when it cannot be read what another volume has
 */
export async function refuseShared(policy: Policy, volume: string, etc: string, files: Files): Promise<void> {
  const wanted = countersIn(policy);
  if (wanted.length === 0) return;
  for (const name of await files.list(`${etc}/enrolled`)) {
    const [, other] = /^(.+)\.json$/.exec(name) ?? [];
    if (other === undefined || other === volume) continue;
    const taken = (await enrolledOf(etc, volumeName(other), files)).flatMap((record) =>
      countersIn(record.policy),
    );
    const shared = wanted.find((index) => taken.includes(index));
    if (shared === undefined) continue;
    throw new AppError(
      'refused',
      `rollback counter ${shared} is ${other}'s: to retire keys of one would retire the other's`,
      {
        hint: 'name another NV index; tpm2_getcap handles-nv-index lists those that are taken',
      },
    );
  }
}

/** Those that sealing by this policy will make. @throws AppError what the TPM throws */
export async function countersToMake(
  policy: Policy,
  { tpm }: EnrolWorld,
  signal: AbortSignal,
): Promise<number[]> {
  const absent: number[] = [];
  for (const index of new Set(countersIn(policy).map(Number))) {
    // What is no number sealing tells.
    if (Number.isInteger(index) && !(await tpm.hasCounter(index, signal))) absent.push(index);
  }
  return absent;
}

/** One that stays is of use to nobody, and takes a place: a TPM that is away, or another one by now, is no obstacle. */
export async function removeCounters(
  counters: readonly number[],
  { tpm, say }: Pick<EnrolWorld, 'tpm' | 'say'>,
  signal: AbortSignal,
): Promise<void> {
  for (const index of counters) {
    try {
      await tpm.removeCounter(index, signal);
    } catch (thrown) {
      say(
        `note: counter 0x${index.toString(16).padStart(8, '0')} stays in the TPM: ${failureLine(asAppError(thrown))}`,
      );
    }
  }
}

/** Sealing has made them, before anything was written here. */
export const counters: EnrolStep = {
  title: 'removing counters from the TPM',
  async do() {},
  async undo({ record, world }, signal) {
    await removeCounters(record.counters ?? [], world, signal);
  },
};
