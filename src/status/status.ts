import { AppError } from '../base/errors.ts';
import { isVolumeName } from '../base/names.ts';
import type { Files, Http, Runner } from '../base/ports.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { isNamed } from '../config/server-keys.ts';
import { enrolledOf } from '../enroll/record.ts';
import type { Places } from '../handler/locate.ts';
import type { Parsec } from '../parsec/parsec.ts';
import type { TpmLook } from '../tpm/look.ts';
import { fastKeyslots } from './fast-keyslots.ts';
import { lastOpened, type Opened } from './last-opened.ts';
import { leavesOf, type PinPolicy, policyText } from './policy.ts';
import { probe } from './probe.ts';
import { type ServerStatus, type ServerStatusWorld, serverStatus } from './server.ts';
import { ourEntries, type VolumeFacts, volumeFacts } from './volume.ts';
import { effectivePolicy, type Revocable, revocable, type Way, waysIn } from './ways.ts';

export interface StatusWorld extends ServerStatusWorld {
  readonly files: Files;
  readonly runner: Runner;
  readonly http: Http;
  readonly tpmLook: TpmLook;
  readonly parsec: Parsec;
}

/** One pin of a volume's sealed keys, and whether it would answer now. */
export interface PinStatus {
  readonly title: string;
  /** Why it would not; null: it would. */
  readonly fault: AppError | null;
}

export interface VolumeStatus {
  readonly facts: VolumeFacts;
  readonly ways: readonly Way[];
  readonly effective: string;
  readonly revocable: Revocable;
  readonly lastOpened: Opened | null;
  /** null: nobody asked for it. */
  readonly pins: readonly PinStatus[] | null;
}

export interface Status {
  /** Lines of crypttab that name a socket of ours, and what keeps them from being a volume. */
  readonly problems: readonly string[];
  readonly volumes: readonly VolumeStatus[];
  readonly servers: readonly ServerStatus[];
}

/**
 * @param only one volume; null: all whose key file is one of our sockets
 * @param probing whether its pins are asked
 * @throws AppError `bad-config`, `unknown-volume`, `damaged`, `stopped`
 */
export async function statusOf(
  only: string | null,
  probing: boolean,
  places: Places,
  world: StatusWorld,
  signal: AbortSignal,
): Promise<Status> {
  const config = await loadConfig(world.files, places.etc);
  const entries = await ourEntries(world.files, places.crypttab);
  const wanted = entries.filter(({ volume }) => only === null || volume === only);
  if (only !== null && wanted.length === 0) {
    throw new AppError(
      'unknown-volume',
      `${places.crypttab}: no volume ${only} whose key file is a socket of ours`,
    );
  }
  const facts: VolumeFacts[] = [];
  const problems: string[] = [];
  for (const entry of wanted) {
    const { volume, line } = entry;
    if (isVolumeName(volume)) facts.push(await volumeFacts(entry, volume, config, places, world.files));
    else problems.push(`${places.crypttab}:${line}: ${JSON.stringify(volume)} can be no volume's name here`);
  }
  const pins = facts.flatMap(({ used }) =>
    used.flatMap(({ policy }) => (policy === null ? [] : leavesOf(policy))),
  );
  const servers = await serversOf(pins, config, world, signal);
  const nameOf = (server: Buffer) => servers.find((one) => isNamed(one, server))?.name ?? null;
  const volumes: VolumeStatus[] = [];
  for (const one of facts) {
    const { device, header, volume } = one;
    const active = header?.version === 2 ? header.metadata.activeKeyslots : [];
    const fast = device === null ? [] : await fastKeyslots(device, active, world.runner, signal);
    const records = await enrolledOf(places.etc, volume, world.files);
    const inFile = records.findLast(({ store }) => store.kind === 'file')?.keyslot ?? null;
    const ways = waysIn(one, fast, inFile, nameOf);
    volumes.push({
      facts: one,
      ways,
      effective: effectivePolicy(ways),
      revocable: revocable(ways, nameOf),
      lastOpened: await lastOpened(volume, world.runner, signal),
      pins: probing ? await pinsOf(one, servers, world, signal) : null,
    });
  }
  return { problems, volumes, servers };
}

async function serversOf(
  pins: readonly PinPolicy[],
  { servers }: Config,
  world: StatusWorld,
  signal: AbortSignal,
): Promise<ServerStatus[]> {
  return await Promise.all(
    [...servers].map(([name, settings]) => {
      const kids = pins.flatMap((pin) =>
        pin.pin === 'remote' && isNamed(settings.keys, pin.server) ? [pin.kid] : [],
      );
      return serverStatus(name, settings, kids, world, signal);
    }),
  );
}

async function pinsOf(
  { used }: VolumeFacts,
  servers: readonly ServerStatus[],
  world: StatusWorld,
  signal: AbortSignal,
): Promise<PinStatus[]> {
  const serverOf = (server: Buffer) => servers.find((one) => isNamed(one, server)) ?? null;
  const nameOf = (server: Buffer) => serverOf(server)?.name ?? null;
  const leaves = used
    .flatMap(({ policy }) => (policy === null ? [] : leavesOf(policy)))
    // Nothing short of decrypting tells.
    .filter(({ pin }) => pin !== 'systemd-creds');
  return await Promise.all(
    leaves.map(async (pin) => ({
      title: policyText(pin, nameOf),
      fault: await probe(pin, { ...world, serverOf }, signal),
    })),
  );
}
