import { toBase64url } from '../base/bytes.ts';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files, Random } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { settingsFor } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import type { Places } from '../handler/locate.ts';
import { commitmentLine, commitTo } from '../luks/commitment.ts';
import { type CrypttabEdit, checkOptions, OTHER_KEY_OPTIONS, withKeyFile } from '../luks/crypttab-edit.ts';
import { freeId } from '../luks/keyslots.ts';
import { refuseShared } from './counters.ts';
import { refuseEarly } from './early.ts';
import { type Policy, withThumbprints } from './policy.ts';
import type { EnrolRecord } from './record.ts';
import type { Target } from './target.ts';

/** Bits enough that no derivation has to slow a guess down: see `DERIVATION` in luks/keyslots.ts. */
const KEY_BYTES = 64;

export interface Wishes {
  readonly policy: Policy;
  readonly places: Places;
  /** What crypttab is to name as key file. */
  readonly socket: string;
  /** The sealed key goes into ETC/volumes, not into a token. */
  readonly inFile: boolean;
  readonly editCrypttab: boolean;
  /** Options of the volume's line about what opened it until now are taken out. */
  readonly replacing?: boolean;
  /** A token that Clevis has made, which is to stay as it is, instead of a new key. */
  readonly adopted?: { readonly id: string; readonly keyslot: string };
}

/** All that will be done, before any of it is. */
export interface Plan extends Wishes {
  readonly target: Target;
  readonly keyslot: string;
  readonly store: EnrolRecord['store'];
  /** What crypttab has to say, also where it is not for us to change. */
  readonly edit: CrypttabEdit;
}

/**
 * @throws AppError `refused` (no free keyslot or token; opened in the initramfs; another volume's counter); `bad-config` (the handler would look elsewhere, or crypttab's
 *   options do not fit a socket)
 */
export async function planFor(target: Target, wishes: Wishes, files: Files): Promise<Plan> {
  const { volume, device, metadata, entry } = target;
  const { places, policy, socket, inFile } = wishes;
  const path = `${places.etc}/volumes/${volume}.jwe`;
  const file = (await files.read(path, limits.sealedKeyBytes))?.toString('latin1') ?? null;
  if (settingsFor(await loadConfig(files, places.etc), volume).url !== null) {
    throw shadowed(volume, `its url: in ${places.etc}/config.yaml`, 'take it out');
  }
  if (file !== null && !inFile) throw shadowed(volume, path, 'give --file to replace it, or remove it');
  await refuseShared(policy, volume, places.etc, files);
  if (wishes.editCrypttab) await refuseEarly(target, files);
  const without = wishes.replacing ? { without: OTHER_KEY_OPTIONS } : {};
  if (entry !== null && wishes.editCrypttab) {
    const kept = entry.options.filter((option) => !without.without?.test(option));
    checkOptions(kept, `${places.crypttab}:${entry.line}`);
  }
  const wanted = {
    volume,
    device: fieldFor(target),
    keyFile: socket,
    options: [...(entry === null ? ['luks'] : []), ...(policy.needsNetwork ? ['_netdev'] : [])],
    ...without,
  };
  return {
    ...wishes,
    target,
    keyslot: wishes.adopted?.keyslot ?? freeId('keyslot', metadata.keyslots, device),
    store: storeFor(target, wishes, path, file),
    edit: withKeyFile(target.crypttab, wanted, places.crypttab),
  };
}

function storeFor(
  { metadata, device }: Target,
  { inFile, adopted }: Wishes,
  path: string,
  before: string | null,
): EnrolRecord['store'] {
  if (adopted !== undefined) return { kind: 'clevis', id: adopted.id };
  if (inFile) return { kind: 'file', path, before };
  const taken = metadata.tokens.map(({ id }) => id);
  return { kind: 'token', id: freeId('token', taken, device) };
}

/** The plan with what had to be made for it. @param units those that are to be enabled */
export function recordOf(plan: Plan, key: Secret, sealedKey: string, units: readonly string[]): EnrolRecord {
  const { target, policy, socket, keyslot, store, edit, editCrypttab, places } = plan;
  const { volume, device, uuid } = target;
  const isEdited = editCrypttab && edit.diff !== '';
  return {
    volume,
    device,
    uuid,
    policy: withThumbprints(policy, sealedKey),
    socket,
    keyslot,
    salt: null,
    keyIsKept: false,
    sealedKey,
    store,
    commitment: commitmentLine(commitTo(key, volume, uuid)),
    units,
    crypttab: isEdited ? { path: places.crypttab, before: edit.before, after: edit.after } : null,
  };
}

/** As text: what asks for passphrases chokes on NUL, and takes a newline for its end. */
export function newKey(random: Random): Secret {
  const bytes = random.bytes(KEY_BYTES);
  const key = Secret.takeFrom(Buffer.from(toBase64url(bytes)));
  bytes.fill(0);
  return key;
}

/** A disk may get another name at each boot, but keeps its UUID; udev knows no UUID of an image file. */
function fieldFor({ device, uuid }: Target): string {
  if (device.startsWith('/dev/')) return `UUID=${uuid}`;
  if (!/\s/.test(device)) return device;
  throw new AppError(
    'usage',
    `enroll: --device: ${JSON.stringify(device)} has white space, which crypttab(5) cannot hold`,
  );
}

function shadowed(volume: string, what: string, hint: string): AppError {
  return new AppError(
    'bad-config',
    `the key of ${volume} is looked for elsewhere before its tokens: ${what}`,
    {
      hint,
    },
  );
}
