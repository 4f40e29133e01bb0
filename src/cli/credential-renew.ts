import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { Secret } from '../base/secret.ts';
import { credentialAddress } from '../credentials/address.ts';
import type { CredentialRecord } from '../credentials/record.ts';
import { withSigners } from '../enroll/policy.ts';
import { parseSealedKey } from '../pins/table.ts';
import { onlyOne } from './only-one.ts';
import { parsePinConfig } from './pin-config.ts';
import { nameOf, openStored, type StoredSecret, storedSecret, storeSecret } from './stored-secret.ts';
import type { SealingWorld } from './tpm-pin.ts';
import type { World } from './world.ts';

/** How to seal from now on; null: as before. */
export type NewWay = { readonly pin: string; readonly configText: string } | null;

interface Renewing {
  readonly etc: string;
  readonly json: boolean;
  readonly trusting: boolean;
}

/** The same secret, under a new content key. @param name UNIT/ID */
export async function rotate(
  name: string,
  way: NewWay,
  renewing: Renewing,
  world: SealingWorld,
): Promise<number> {
  using _lock = await onlyOne('rotate', renewing.etc, world);
  const old = await storedSecret(renewing.etc, credentialAddress(name), world);
  const record = recordFor(old, way);
  using secret = await openStored(old, world);
  return await replace('rotated', old, record, secret, renewing, world);
}

/** Another secret, as a person writes it. @param name UNIT/ID */
export async function edit(
  name: string,
  way: NewWay,
  renewing: Renewing,
  world: SealingWorld,
): Promise<number> {
  using _lock = await onlyOne('edit', renewing.etc, world);
  const old = await storedSecret(renewing.etc, credentialAddress(name), world);
  const record = recordFor(old, way);
  using secret = await openStored(old, world);
  await tellOfSwap(world);
  using written = withoutAddedNewline(await world.edit(secret), secret);
  if (written.reveal().equals(secret.reveal())) {
    world.say(`${name}: unchanged, so nothing was written`);
    return 0;
  }
  if (written.length === 0 || written.length > limits.credentialBytes) {
    throw new AppError(
      'refused',
      `${name}: expected 1 to ${limits.credentialBytes} bytes, got ${written.length}`,
    );
  }
  return await replace('edited', old, record, written, renewing, world);
}

async function replace(
  verb: 'edited' | 'rotated',
  old: StoredSecret,
  record: CredentialRecord,
  secret: Secret,
  { json, trusting }: Renewing,
  world: SealingWorld,
): Promise<number> {
  const command = verb === 'edited' ? 'edit' : 'rotate';
  const path = await storeSecret(command, old, record, secret, old, trusting, world);
  const now = (await storedSecret(old.etc, old.address, world)).sealedKey;
  const policy = parseSealedKey(now).title;
  const { unit } = old.address;
  if (json) world.print(`${JSON.stringify({ credential: nameOf(old.address), path, policy, done: verb })}\n`);
  else world.print(`${verb} ${nameOf(old.address)}: ${policy}, proven to open\n`);
  if (verb === 'edited') world.say(`next: systemctl restart ${unit}`);
  return 0;
}

/** @throws AppError `usage` when nothing says how it was sealed */
function recordFor({ record, sealedKey, path }: StoredSecret, way: NewWay): CredentialRecord {
  if (way !== null) return { pin: way.pin, config: parsePinConfig('credential', way.configText) as object };
  if (record !== null) return { ...record, config: withSigners(record.config, sealedKey) };
  throw new AppError('usage', `${path}: nothing says how it was sealed`, {
    hint: 'say it: UNIT ID PIN CONFIG, as seal takes them',
  });
}

/** Editors end the last line. */
function withoutAddedNewline(written: Secret, before: Secret): Secret {
  const bytes = written.reveal();
  const isAdded = bytes.at(-1) === 0x0a && before.reveal().at(-1) !== 0x0a;
  return isAdded ? Secret.takeFrom(bytes.subarray(0, -1)) : written;
}

/** The file system is never swapped out, but the editor itself may be. */
async function tellOfSwap(world: World): Promise<void> {
  const [, ...swaps] = ((await world.files.read('/proc/swaps', limits.configBytes)) ?? '')
    .toString()
    .trim()
    .split('\n');
  if (swaps.length > 0) world.say('note: this machine swaps, and the memory of an editor may be swapped out');
}
