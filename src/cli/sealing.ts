import { asAppError, failureLine } from '../base/errors.ts';
import type { Secret } from '../base/secret.ts';
import { loadConfig } from '../config/load.ts';
import { leaveProofs } from '../handler/alive.ts';
import { parseSealedKey, seal } from '../pins/table.ts';
import { keyServersOf } from '../remote/key-servers.ts';
import type { SealingWorld } from './tpm-pin.ts';

/** How something is to be sealed, apart from what. */
export interface Sealing {
  readonly pin: string;
  /** Parsed JSON. */
  readonly config: unknown;
  /** Its config.yaml names key servers. */
  readonly etc: string;
  /** A Tang server's keys are trusted without asking. */
  readonly trusting: boolean;
}

/**
 * Seals as a command does. Whoever seals has the key open: the machine can keep itself alive by it at once, and seal
 * the next one.
 * @param command whose word it is when no proof could be left
 * @returns JWE in compact serialization
 * @throws AppError what the pin throws
 */
export async function sealAs(
  command: string,
  { pin, config, etc, trusting }: Sealing,
  secret: Secret,
  world: SealingWorld,
): Promise<string> {
  const confirm = trusting ? async () => {} : world.confirm;
  const servers = await keyServersOf(await loadConfig(world.files, etc), world.serverWorld);
  const sealedKey = await seal(pin, config, secret, { ...world, servers, confirm });
  try {
    leaveProofs(secret, parseSealedKey(sealedKey).uses, world.leaveProof);
  } catch (thrown) {
    world.say(`${command}: alive proof: ${failureLine(asAppError(thrown))}`);
  }
  return sealedKey;
}
