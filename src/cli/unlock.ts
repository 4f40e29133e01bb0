import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { VolumeName } from '../base/names.ts';
import { Secret } from '../base/secret.ts';
import { openNow } from '../enroll/prove.ts';
import { sayingIfSlow } from '../enroll/steps.ts';
import type { Places } from '../handler/locate.ts';
import { type Keyslots, wrongPassphrase } from '../luks/keyslots.ts';
import type { World } from './world.ts';

/** Tries at the terminal; with a file there is nothing to try again. */
const TRIES = 3;

/**
 * What opens the volume already: what is in `file`; else a sealed key of it that opens now; else a passphrase.
 * @param file `-` for standard input
 * @throws AppError `refused` (nothing that opens), `usage` (no such file), `stopped`
 */
export async function unlock(
  volume: VolumeName,
  places: Places,
  keyslots: Keyslots,
  file: string | undefined,
  world: World,
): Promise<Secret> {
  const tryKeys = () => openNow(volume, places, world, world.signal);
  const opened = file === undefined ? await sayingIfSlow('trying its sealed keys', world, tryKeys) : null;
  if (opened !== null && (await keyslots.opens(opened, world.signal))) return opened;
  opened?.wipe();
  return await askUntil((passphrase) => keyslots.opens(passphrase, world.signal), keyslots.path, file, world);
}

/**
 * A passphrase with which `opens` is content, from `file`, or asked for at the terminal.
 * @throws AppError `refused`, `usage`, `stopped`, and what `opens` throws
 */
export async function askUntil(
  opens: (passphrase: Secret) => Promise<boolean>,
  device: string,
  file: string | undefined,
  world: World,
): Promise<Secret> {
  for (let left = file === undefined ? TRIES : 1; ; left--) {
    const passphrase = await passphraseFrom(file, device, world);
    if (await sayingIfSlow('trying the passphrase', world, () => opens(passphrase))) return passphrase;
    passphrase.wipe();
    if (left === 1) throw wrongPassphrase(device);
    world.say(`${device}: this passphrase opens no keyslot`);
  }
}

async function passphraseFrom(file: string | undefined, device: string, world: World): Promise<Secret> {
  if (file === undefined) {
    return await world.askPassphrase(
      `Passphrase of ${device}:`,
      'give --unlock-key-file FILE, or - for standard input',
    );
  }
  if (file === '-') return await world.readStandardInput(limits.keyBytes);
  const bytes = await world.files.read(file, limits.keyBytes);
  if (bytes === null) throw new AppError('usage', `--unlock-key-file: ${file}: no such file`);
  return Secret.takeFrom(bytes);
}

/** Whatever fails at boot ends in an empty answer somewhere: it must open nothing. */
export async function refuseEmpty(keyslots: Keyslots, world: World): Promise<void> {
  using empty = new Secret(Buffer.alloc(0));
  const opens = () => keyslots.opens(empty, world.signal);
  if (!(await sayingIfSlow('trying the empty passphrase', world, opens))) return;
  throw new AppError('refused', `${keyslots.path}: the empty passphrase opens it, for everybody`, {
    hint: `take it out first: printf '' > /run/empty; cryptsetup luksRemoveKey ${keyslots.path} /run/empty`,
  });
}
