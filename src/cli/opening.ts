import type { Secret } from '../base/secret.ts';
import { loadConfig } from '../config/load.ts';
import { tryOnce } from '../handler/patience.ts';
import type { SealedKey } from '../pins/pin.ts';
import { keyServersOf } from '../remote/key-servers.ts';
import type { World } from './world.ts';

/**
 * Opens a sealed key as a command does: one try of each pin.
 * @param subject whose key it is, for who is asked for a PIN
 * @param etc its config.yaml names key servers
 * @throws AppError what keeps it from opening
 */
export async function openOnce(
  sealed: SealedKey,
  subject: string,
  etc: string,
  world: World,
): Promise<Secret> {
  const servers = await keyServersOf(await loadConfig(world.files, etc), world.serverWorld);
  const leftovers: Promise<unknown>[] = [];
  const context = {
    ...world,
    servers,
    askPin: world.pinOf(subject, 0),
    attempt: tryOnce,
    afterwards: (leftover: Promise<unknown>) => leftovers.push(leftover),
  };
  try {
    return await sealed.open(context, world.signal);
  } finally {
    await Promise.allSettled(leftovers);
  }
}
