import { AppError, asAppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { isVolumeName, KEEPALIVE_UNIT } from '../base/names.ts';
import type { Files, Http } from '../base/ports.ts';
import { type Config, emptyConfig } from '../config/config.ts';
import { readConfig } from '../config/parse.ts';
import { isNamed, type ServerKeys } from '../config/server-keys.ts';
import type { Places } from '../handler/locate.ts';
import { mountedOn } from '../luks/mounted.ts';
import type { Parsec } from '../parsec/parsec.ts';
import { leavesOf, opensWith, type PinPolicy } from '../status/policy.ts';
import { probe } from '../status/probe.ts';
import { type ServerStatus, type ServerStatusWorld, serverStatus } from '../status/server.ts';
import { ourEntries, type VolumeFacts, volumeFacts } from '../status/volume.ts';
import { changedPcrs, type TpmLook, unusedPcrs } from '../tpm/look.ts';
import { actUnitsOff } from './act-units.ts';
import { credentialUses } from './credentials.ts';
import type { CredentialUse, Facts, TpmFacts } from './facts.ts';
import { mountsIn } from './fstab.ts';
import { type HeaderWorld, headerFacts } from './header-facts.ts';
import { initramfsFacts } from './initramfs-facts.ts';
import { siteFacts } from './site.ts';
import { type UnitFacts, type UnitWorld, unitFacts } from './unit-facts.ts';
import { isPulledIn, UNIT_FOLDERS } from './unit-files.ts';

/** All that the doctor looks at. */
export interface DoctorWorld extends HeaderWorld, UnitWorld, ServerStatusWorld {
  readonly http: Http;
  readonly tpmLook: TpmLook;
  readonly parsec: Parsec;
  /** Unix time. */
  nowUnixMs(): number;
}

/** @param fstab path @throws AppError `bad-config`, `stopped` */
export async function gather(
  places: Places,
  fstab: string,
  world: DoctorWorld,
  signal: AbortSignal,
): Promise<Facts> {
  const { files } = world;
  const config = await configOrNone(places.etc, files);
  const entries = await ourEntries(files, places.crypttab);
  const volumes: VolumeFacts[] = [];
  for (const entry of entries) {
    // Of a name that is none `check` tells.
    if (!isVolumeName(entry.volume)) continue;
    volumes.push(await volumeFacts(entry, entry.volume, config, places, files));
  }
  const mounted = await mountedByVolume(volumes, files);
  const mounts = mountsIn((await files.read(fstab, limits.configBytes))?.toString() ?? '', mounted);
  const folders = world.unitFolders ?? UNIT_FOLDERS;
  const credentials = await credentialUses(files, folders, places.etc, config);
  const pins = [...volumes.flatMap(({ used }) => used), ...credentials].flatMap(({ policy }) =>
    policy === null ? [] : leavesOf(policy),
  );
  // What takes long, side by side: the network, systemd, key derivation.
  const [{ servers, answers, tpm }, units, headers, initramfs] = await Promise.all([
    asked(pins, config, world, signal),
    unitsOrFault(volumes, credentials, { crypttab: places.crypttab, fstab }, world, signal),
    Promise.all(volumes.map((volume) => headerFacts(volume, places.etc, world, signal))),
    initramfsFacts(volumes, mounted, mounts, world, signal),
  ]);
  return {
    crypttab: places.crypttab,
    volumes,
    headers,
    mounts,
    units,
    bootedWithSystemd: (await files.mode('/run/systemd/system')) !== null,
    keepaliveIsOn: await isPulledIn(files, folders, KEEPALIVE_UNIT),
    actUnitsOff: await actUnitsOff(config, files, folders),
    credentials,
    answers,
    tpm,
    servers,
    site: await siteFacts(config, volumes, fstab, files),
    nowMs: world.nowUnixMs(),
    initramfs,
  };
}

async function mountedByVolume(
  volumes: readonly VolumeFacts[],
  files: Files,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const mounted = new Map<string, readonly string[]>();
  for (const { volume, header } of volumes) {
    if (header !== null) mounted.set(volume, await mountedOn(volume, header.uuid, files));
  }
  return mounted;
}

/** What is wrong in config.yaml is told elsewhere: here what is right in it counts. */
async function configOrNone(etc: string, files: Files): Promise<Config> {
  const bytes = await files.read(`${etc}/config.yaml`, limits.configBytes).catch(() => null);
  return (bytes === null ? null : readConfig(bytes.toString()).config) ?? emptyConfig;
}

async function asked(pins: readonly PinPolicy[], config: Config, world: DoctorWorld, signal: AbortSignal) {
  const servers = await Promise.all(
    [...config.servers].map(([name, settings]) =>
      serverStatus(name, settings, kidsFor(pins, settings.keys), world, signal),
    ),
  );
  const serverOf = (pin: Buffer): ServerStatus | null => servers.find((one) => isNamed(one, pin)) ?? null;
  const answers = new Map<PinPolicy, AppError | null>();
  await Promise.all(
    pins.map(async (pin) => answers.set(pin, await probe(pin, { ...world, serverOf }, signal))),
  );
  return { servers, answers, tpm: await tpmFacts(pins, world.tpmLook, signal) };
}

function kidsFor(pins: readonly PinPolicy[], server: ServerKeys): string[] {
  return pins.flatMap((pin) => (pin.pin === 'remote' && isNamed(server, pin.server) ? [pin.kid] : []));
}

async function tpmFacts(
  pins: readonly PinPolicy[],
  look: TpmLook,
  signal: AbortSignal,
): Promise<TpmFacts | null> {
  try {
    const unused = new Map<PinPolicy, readonly number[]>();
    const changed = new Map<PinPolicy, readonly number[]>();
    for (const pin of pins) {
      const pcrs = pin.pin === 'tpm2' ? pin.object.pcrs : null;
      if (pcrs === null) continue;
      const now = await look.pcrs(pcrs.selection, signal);
      unused.set(pin, unusedPcrs(pcrs.selection, now));
      if (pcrs.values !== null) changed.set(pin, changedPcrs(pcrs.selection, pcrs.values, now));
    }
    return { properties: await look.properties(signal), unused, changed };
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    // There may be none: why it does not answer, the pins that need it say.
    return null;
  }
}

async function unitsOrFault(
  volumes: readonly VolumeFacts[],
  credentials: readonly CredentialUse[],
  tables: { readonly crypttab: string; readonly fstab: string },
  world: DoctorWorld,
  signal: AbortSignal,
): Promise<UnitFacts | AppError> {
  const ours = volumes.map((volume) => ({ entry: volume.entry, needsNetwork: needsNetwork(volume) }));
  try {
    return await unitFacts(ours, credentials, tables, world, signal);
  } catch (thrown) {
    if (signal.aborted || !(thrown instanceof AppError)) throw thrown;
    return asAppError(thrown);
  }
}

/** Whether no key comes from this machine alone. */
function needsNetwork({ used, url }: VolumeFacts): boolean {
  const policies = used.flatMap(({ policy }) => (policy === null ? [] : [policy]));
  if (policies.length === 0) return url !== null;
  return !policies.some((policy) =>
    opensWith(policy, ({ pin }) => pin === 'tpm2' || pin === 'systemd-creds'),
  );
}
