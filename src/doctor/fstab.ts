import type { Mount } from './facts.ts';

/**
 * The lines of fstab(5) that mount something that lies on our volumes: by the name `/dev/mapper/NAME`; of a file system
 * that is named by UUID or lies on a logical volume, by what is mounted there now.
 * @param mounted by volume
 */
export function mountsIn(text: string, mounted: ReadonlyMap<string, readonly string[]>): Mount[] {
  return text.split('\n').flatMap((line) => {
    const [source = '', path = '', , options = ''] = line.trim().split(/\s+/);
    if (source === '' || source.startsWith('#')) return [];
    const [, named] = /^\/dev\/mapper\/(.+)$/.exec(source) ?? [];
    const volumes = [...mounted].filter(([, paths]) => paths.includes(path)).map(([volume]) => volume);
    if (named !== undefined && !volumes.includes(named)) volumes.push(named);
    return volumes.map((volume) => ({ volume, path, options: options.split(',') }));
  });
}

/** @returns the volume that the file or folder at `path` lies on by these lines; null = on none */
export function volumeUnder(text: string, path: string): string | null {
  const mounts = text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([source = '', at = '']) => !source.startsWith('#') && isWithin(path, at))
    .toSorted(([, one = ''], [, other = '']) => other.length - one.length);
  const [, volume] = /^\/dev\/mapper\/(.+)$/.exec(mounts[0]?.[0] ?? '') ?? [];
  return volume ?? null;
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`);
}
