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
  /** Of the volume `data` in crypttab. */
  readonly options?: string;
  /** How late the Tang server comes; null = never. Default: at once. */
  readonly serverAfterSeconds?: number | null;
  readonly files?: Readonly<Record<string, GuestFile>>;
}

/** A container with one volume, `data`, whose key is sealed to a Tang server inside it. */
export async function sealedGuest({ folder }: Stage, given: SealedOptions = {}): Promise<Sealed> {
  const { options = 'luks,headless=1', serverAfterSeconds = 0, files = {} } = given;
  const disk = makeDisk(folder, 'data');
  const tang = innerTang(folder);
  return {
    disk,
    guest: {
      ...plainGuest,
      disks: [disk],
      enable: [SOCKET_UNIT, TANG_UNIT],
      files: {
        ...tang.files(serverAfterSeconds),
        '/etc/crypttab': { content: crypttabLine(disk, options) },
        [jwePath(disk.serial)]: { content: await tang.seal(disk.key), mode: 0o600 },
        ...files,
      },
      script: opensVolume(disk),
    },
  };
}
