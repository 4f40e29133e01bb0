import manifest from '../../package.json' with { type: 'json' };

/** This program's version; a bundle carries it within itself. */
export const version: string = manifest.version;
