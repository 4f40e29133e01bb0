import { AppError, failureLine } from '../base/errors.ts';
import type { VolumeName } from '../base/names.ts';
import { emptyConfig } from '../config/config.ts';
import type { Places } from '../handler/locate.ts';
import { findInCrypttab } from '../luks/crypttab.ts';
import { leavesOf } from '../status/policy.ts';
import { volumeFacts } from '../status/volume.ts';
import type { SealedObject } from '../tpm/tpm.ts';
import type { World } from './world.ts';

/** A TPM pin of one of a volume's sealed keys. */
export interface TpmKey {
  /** File, or `DEVICE token ID`. */
  readonly where: string;
  readonly object: SealedObject;
}

/**
 * Each TPM pin in each sealed key of the volume, also those that the handler would not try; what is wrong with the
 * others is said.
 * @throws AppError `unknown-volume` when there is none; `unavailable`, `damaged` when the header cannot be read
 */
export async function tpmKeysOf(volume: VolumeName, places: Places, world: World): Promise<TpmKey[]> {
  const entry = await findInCrypttab(world.files, places.crypttab, volume);
  if (entry === null) throw new AppError('unknown-volume', `no line for ${volume} in ${places.crypttab}`);
  const { used, unused, headerFault } = await volumeFacts(entry, volume, emptyConfig, places, world.files);
  const keys: TpmKey[] = [];
  for (const { where, policy, fault } of [...used, ...unused]) {
    if (fault !== null) world.say(`${where}: ${failureLine(fault)}`);
    for (const pin of policy === null ? [] : leavesOf(policy)) {
      if (pin.pin === 'tpm2') keys.push({ where, object: pin.object });
    }
  }
  if (keys.length > 0) return keys;
  if (headerFault !== null) throw headerFault;
  throw new AppError('unknown-volume', `no sealed key of ${volume} needs the TPM`);
}
