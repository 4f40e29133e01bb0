import { AppError, asAppError, failureLine } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { Secret } from '../base/secret.ts';
import { loadConfig } from '../config/load.ts';
import type { CredentialAddress } from '../credentials/address.ts';
import { credentialPath, type Form, forms, recordPath } from '../credentials/place.ts';
import { type CredentialRecord, keepSealed, recordOf } from '../credentials/record.ts';
import { parseSealedKey } from '../pins/table.ts';
import { keyServersOf } from '../remote/key-servers.ts';
import { openOnce } from './opening.ts';
import { sealAs } from './sealing.ts';
import type { SealingWorld } from './tpm-pin.ts';
import type { World } from './world.ts';

/** Where a service's secret is kept, and in which form. */
export interface SecretPlace {
  readonly etc: string;
  readonly address: CredentialAddress;
  readonly form: Form;
}

/** A sealed secret as it lies there. */
export interface StoredSecret extends SecretPlace {
  readonly path: string;
  readonly sealedKey: string;
  /** null: nothing says how it was sealed. */
  readonly record: CredentialRecord | null;
}

export const nameOf = ({ unit, credential }: CredentialAddress) => `${unit}/${credential}`;

/** @throws AppError `unknown-volume` when nothing is sealed for it; `bad-config`, `damaged` */
export async function storedSecret(
  etc: string,
  address: CredentialAddress,
  world: World,
): Promise<StoredSecret> {
  for (const form of forms) {
    const path = credentialPath(etc, address, form);
    const bytes = await world.files.read(path, limits.sealedKeyBytes);
    if (bytes === null) continue;
    const sealedKey = bytes.toString('latin1');
    const record = await recordOf(sealedKey, recordPath(etc, address, form), world.files);
    return { etc, address, form, path, sealedKey, record };
  }
  throw new AppError('unknown-volume', `nothing is sealed for ${nameOf(address)}`, {
    hint: 'fetch-luks-key credential list tells what is',
  });
}

/** @throws AppError what keeps it from opening */
export async function openStored(stored: StoredSecret, world: World): Promise<Secret> {
  const { address, etc, form, path, sealedKey } = stored;
  try {
    const opened = await openOnce(parseSealedKey(sealedKey), nameOf(address), etc, world);
    if (form === 'plain') return opened;
    using credential = opened;
    return await world.credentials.decrypt(credential.reveal(), address.credential, world.signal);
  } catch (thrown) {
    throw asAppError(thrown).at(path);
  }
}

/**
 * Seals a secret, proves that it opens, and only then puts it in the place of the one before.
 * @param before what it replaces; null: whatever is there
 * @returns the path of the file
 * @throws AppError what the pin throws; `usage`: too long; `refused`: somebody else has replaced it meanwhile
 */
export async function storeSecret(
  command: string,
  place: SecretPlace,
  record: CredentialRecord,
  secret: Secret,
  before: StoredSecret | null,
  trusting: boolean,
  world: SealingWorld,
): Promise<string> {
  using content = await contentOf(place, secret, world);
  const sealedKey = await sealAs(command, { ...record, etc: place.etc, trusting }, content, world);
  if (before === null) {
    const path = keepSealed(sealedKey, record, place, null, world.durable);
    forgetOtherForm(place, world);
    return path;
  }
  using proven = await openOnce(parseSealedKey(sealedKey), nameOf(place.address), place.etc, world);
  if (!proven.reveal().equals(content.reveal())) {
    throw new AppError('damaged', `${before.path}: what was sealed anew opens as something else`);
  }
  const now = await world.files.read(before.path, limits.sealedKeyBytes);
  if (now?.toString('latin1') !== before.sealedKey) {
    throw new AppError('refused', `${before.path}: was replaced meanwhile, so this changes nothing`);
  }
  const sameWay = JSON.stringify(record) === JSON.stringify(before.record);
  const path = keepSealed(sealedKey, record, place, sameWay ? before.sealedKey : null, world.durable);
  await deleteServerKeys(before, sealedKey, world);
  return path;
}

/** What is sealed: the secret, or systemd's credential of it, by this host's key, which binds it to its name. */
async function contentOf({ address, form }: SecretPlace, secret: Secret, world: World): Promise<Secret> {
  if (form === 'plain') return Secret.takeFrom(Buffer.from(secret.reveal()));
  const options = { name: address.credential, key: 'host', pcrs: null, notAfter: null } as const;
  const credential = await world.credentials.encrypt(secret, options, world.signal);
  if (credential.length <= limits.credentialBytes) return Secret.takeFrom(credential);
  throw new AppError(
    'usage',
    `${nameOf(address)}: expected at most ${limits.credentialBytes} bytes once encrypted, got ${credential.length}`,
  );
}

/** What is handed over in two forms is right in one of them only. */
function forgetOtherForm({ etc, address, form }: SecretPlace, { durable }: World): void {
  const other = form === 'plain' ? 'encrypted' : 'plain';
  for (const path of [credentialPath(etc, address, other), recordPath(etc, address, other)]) {
    if (durable.size(path) !== null) durable.remove(path);
  }
}

/** One that stays is of use to nobody: a server that is away does not keep a secret from being renewed. */
async function deleteServerKeys(old: StoredSecret, sealedKey: string, world: World): Promise<void> {
  const servers = await keyServersOf(await loadConfig(world.files, old.etc), world.serverWorld);
  const kept = new Set(parseSealedKey(sealedKey).uses.map(({ kid }) => kid));
  for (const { server: pin, kid } of parseSealedKey(old.sealedKey).uses) {
    if (pin === undefined || kid === undefined || kept.has(kid)) continue;
    const server = servers.byPin(pin);
    try {
      await server?.deleteKey(kid, world.signal);
    } catch (thrown) {
      const reason = failureLine(asAppError(thrown));
      world.say(`note: key ${kid} stays at server ${server?.name}, of no use to anybody: ${reason}`);
    }
  }
}
