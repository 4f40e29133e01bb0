import { limits } from '../base/limits.ts';
import type { Files, Runner, ScratchFolder } from '../base/ports.ts';
import type { CrypttabEntry } from '../luks/crypttab.ts';
import { bootOrder, escapeForUnit } from './boot-order.ts';
import { type CredentialUnits, credentialUnits } from './credential-units.ts';
import type { CredentialUse } from './facts.ts';
import { type Chain, HANDLER, Questions, socketUnit } from './questions.ts';
import { readUnit, type UnitFile } from './unit-files.ts';

/** A volume whose key file is one of our sockets. */
export interface OurVolume {
  readonly entry: CrypttabEntry;
  /** Whether no key comes without a server on the network. */
  readonly needsNetwork: boolean;
}

export interface SocketFacts {
  readonly unit: string;
  /** null: there is no such unit. */
  readonly file: UnitFile | null;
  /** At boot. */
  readonly isStarted: boolean;
}

export interface HandlerFacts {
  readonly file: UnitFile;
  /** What ExecStart= names, where that is not there. */
  readonly missingProgram: string | null;
  readonly missingGroups: readonly string[];
  /** The line that makes it run as another user; null: it runs as root. */
  readonly otherUser: string | null;
}

export interface VolumeOrder {
  readonly entry: CrypttabEntry;
  readonly unit: string;
  /** systemd's generator made a unit of the line. */
  readonly isGenerated: boolean;
  /** At boot: by its target, or by a mount. */
  readonly isStarted: boolean;
  /** null: not looked at, as the volume is not to be started at boot, or its socket is not. */
  readonly socketIsFirst: boolean | null;
  /** Why the handler does not start before the volume is open; null: it does. */
  readonly handlerWaits: Chain | null;
  /** Why the network comes up after the volume only; null: it does not, or the volume needs none early. */
  readonly networkWaits: Chain | null;
}

export interface UnitFacts {
  readonly credentials: readonly CredentialUnits[];
  readonly sockets: readonly SocketFacts[];
  readonly handler: HandlerFacts | null;
  readonly volumes: readonly VolumeOrder[];
  /** Cycles in the boot as it is. */
  readonly cycles: readonly Chain[];
}

export interface UnitWorld {
  readonly files: Files;
  readonly runner: Runner;
  scratchFolder(): ScratchFolder;
  /** Where systemd looks for units, the highest priority first; default: as systemd.unit(5) has it. */
  readonly unitFolders?: readonly string[];
}

/** @throws AppError `tool-missing` (no systemd here), `unavailable`, `bad-config`, `stopped` */
export async function unitFacts(
  volumes: readonly OurVolume[],
  credentials: readonly CredentialUse[],
  tables: { readonly crypttab: string; readonly fstab: string },
  world: UnitWorld,
  signal: AbortSignal,
): Promise<UnitFacts> {
  const { files, runner } = world;
  using scratch = world.scratchFolder();
  const order = await bootOrder(tables, scratch, runner, signal, world.unitFolders);
  const { folders } = order;
  const questions = new Questions(order);
  const names = new Set(volumes.map(({ entry }) => socketUnit(entry)));
  const sockets: SocketFacts[] = [];
  for (const unit of names) {
    const file = await readUnit(files, folders, unit);
    sockets.push({ unit, file, isStarted: await questions.isStarted(unit) });
  }
  const ordered: VolumeOrder[] = [];
  for (const volume of volumes) {
    const socket = sockets.find(({ unit }) => unit === socketUnit(volume.entry));
    ordered.push(await volumeOrder(volume, socket?.isStarted ?? false, questions, files, folders));
  }
  return {
    credentials: await credentialUnits(credentials, questions, files, folders),
    sockets,
    handler: await handlerFacts(files, folders),
    volumes: ordered,
    cycles: await order.cycles({}),
  };
}

async function volumeOrder(
  { entry, needsNetwork }: OurVolume,
  socketIsStarted: boolean,
  questions: Questions,
  files: Files,
  folders: readonly string[],
): Promise<VolumeOrder> {
  const unit = `systemd-cryptsetup@${escapeForUnit(entry.volume)}.service`;
  const isGenerated = (await readUnit(files, folders, unit)) !== null;
  if (!isGenerated || entry.options.includes('noauto')) {
    const unasked = { socketIsFirst: null, handlerWaits: null, networkWaits: null };
    return { entry, unit, isGenerated, isStarted: false, ...unasked };
  }
  const isRemote = entry.options.includes('_netdev');
  // The others are what cryptsetup.target is for, and sysinit.target always has that.
  const isStarted = !isRemote || (await questions.isStarted(unit));
  return {
    entry,
    unit,
    isGenerated,
    isStarted,
    socketIsFirst: socketIsStarted ? await questions.socketIsFirst(entry, unit) : null,
    handlerWaits: await questions.waits(entry, unit, HANDLER),
    networkWaits:
      needsNetwork && !isRemote ? await questions.waits(entry, unit, 'network-online.target') : null,
  };
}

async function handlerFacts(files: Files, folders: readonly string[]): Promise<HandlerFacts | null> {
  const file = await readUnit(files, folders, HANDLER);
  if (file === null) return null;
  const [command = ''] = file.values('Service', 'ExecStart').at(-1)?.split(/\s/) ?? [];
  const program = command.replace(/^[-@:+!|]+/, '');
  const isThere = program === '' || (await files.mode(program)) !== null;
  const groups = (await files.read('/etc/group', limits.configBytes))?.toString() ?? '';
  const wanted = file.values('Service', 'SupplementaryGroups').flatMap((names) => names.split(/\s+/));
  return {
    file,
    missingProgram: isThere ? null : program,
    missingGroups: wanted.filter(
      (name) => !new RegExp(`^(?:${name}:|[^:]*:[^:]*:${name}:)`, 'm').test(groups),
    ),
    otherUser: otherUserOf(file),
  };
}

function otherUserOf(file: UnitFile): string | null {
  const last = (key: string) => file.values('Service', key).at(-1) ?? '';
  const isDynamic = /^(?:1|y|yes|t|true|on)$/i.test(last('DynamicUser'));
  if (isDynamic) return 'DynamicUser=yes';
  const user = last('User');
  return ['', 'root', '0'].includes(user) ? null : `User=${user}`;
}
