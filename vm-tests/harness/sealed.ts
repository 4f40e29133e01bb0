import { type Guest, type GuestFile, plainGuest } from './guest.ts';
import type { Stage } from './scenario.ts';
import { innerTang, TANG_UNIT } from './tang.ts';
import { crypttabLine, type Disk, makeDisk, opensVolume, SOCKET_UNIT } from './volumes.ts';

/** Where a volume's sealed key is looked for. */
export const jwePath = (volume: string) => `/etc/fetch-luks-key/volumes/${volume}.jwe`;

export interface Sealed {
  readonly disk: Disk;
  readonly guest: Guest;
}

export interface SealedOptions {
  /** Volumes in crypttab, all of the one disk. Default: `data`. */
  readonly names?: readonly string[];
  /** Theirs in crypttab. */
  readonly options?: string;
  /** How late the Tang server comes; null = never. Default: at once. */
  readonly serverAfterSeconds?: number | null;
  readonly files?: Readonly<Record<string, GuestFile>>;
  /** Units beside the socket and the server. */
  readonly enable?: readonly string[];
  readonly prepare?: string;
}

/** A container with one volume, `data`, whose key is sealed to a Tang server inside it. */
export async function sealedGuest(stage: Stage, given: SealedOptions = {}): Promise<Sealed> {
  return (await sealedGuests(stage))(given);
}

/** Such containers of the same disk and server. */
export async function sealedGuests({ folder }: Stage): Promise<(given?: SealedOptions) => Sealed> {
  const disk = makeDisk(folder, 'data');
  const tang = innerTang(folder);
  const sealed = { content: await tang.seal(disk.key), mode: 0o600 };
  return (given = {}) => {
    const {
      names = [disk.serial],
      options = 'luks,headless=1',
      serverAfterSeconds = 0,
      prepare = '',
    } = given;
    const crypttab = names.map((name) => crypttabLine(disk, options, undefined, name));
    const guest = {
      ...plainGuest,
      disks: [disk],
      enable: [SOCKET_UNIT, TANG_UNIT, ...(given.enable ?? [])],
      files: {
        ...tang.files(serverAfterSeconds),
        '/etc/crypttab': { content: crypttab.join('') },
        ...Object.fromEntries(names.map((name) => [jwePath(name), sealed])),
        ...given.files,
      },
      prepare,
      script: opensVolume(disk),
    };
    return { disk, guest };
  };
}

/** In a container that has not enrolled `data` yet: its passphrase. */
export const PASSPHRASE_FILE = '/etc/passphrase';

/** A container whose crypttab names the volume `data` without a key file, and a Tang server inside it to enrol with. */
export function unsealedGuest({ folder }: Stage) {
  const disk = makeDisk(folder, 'data');
  const tang = innerTang(folder);
  const line = crypttabLine(disk, 'luks,nofail,headless=1', 'none');
  const guest: Guest = {
    ...plainGuest,
    disks: [disk],
    enable: [TANG_UNIT],
    files: {
      ...tang.files(0),
      '/etc/crypttab': { content: line },
      [PASSPHRASE_FILE]: { content: disk.key },
    },
  };
  return { disk, line, guest, enroll: `fetch-luks-key enroll data --tang ${tang.url} -y` };
}
