import type { Mount } from './facts.ts';

/** The lines of fstab(5) whose source is an open volume: `/dev/mapper/NAME`. */
export function mountsIn(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const [source = '', path = '', , options = ''] = line.trim().split(/\s+/);
    const [, volume] = /^\/dev\/mapper\/(.+)$/.exec(source) ?? [];
    return volume === undefined ? [] : [{ volume, path, options: options.split(',') }];
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
