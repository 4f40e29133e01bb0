import type { Mount } from './facts.ts';

/** The lines of fstab(5) whose source is an open volume: `/dev/mapper/NAME`. */
export function mountsIn(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const [source = '', path = '', , options = ''] = line.trim().split(/\s+/);
    const [, volume] = /^\/dev\/mapper\/(.+)$/.exec(source) ?? [];
    return volume === undefined ? [] : [{ volume, path, options: options.split(',') }];
  });
}
