import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Every place where a program could leave a file that this machine's other programs use too. */
const PLACES = ['/tmp', '/var/tmp', '/dev/shm', '/run'];
/** The program stays where it is, also in a clone below one of them. */
const ROOT = resolve(import.meta.dirname, '../..');

export interface PrivateMounts {
  /** Program and arguments before a command: it then has these places for itself. */
  readonly wrapper: string[];
  /** Paths of all files that are there now. */
  files(): string[];
}

/** Gives what runs under `wrapper` folders of its own in a mount namespace, to see what it leaves there. */
export function privateMounts(folder: string): PrivateMounts {
  const own = PLACES.map((place) => join(folder, place.replaceAll('/', '_')));
  for (const path of own) mkdirSync(path, { mode: 0o700 });
  const mounts = PLACES.flatMap((place, index) => {
    const over = `mount --rbind ${own[index]} ${place}`;
    if (!ROOT.startsWith(`${place}/`)) return [over];
    const there = join(own[index] ?? '', ROOT.slice(place.length));
    mkdirSync(there, { recursive: true });
    return [`mount --bind ${ROOT} ${there}`, over];
  }).join(' && ');
  const script = join(folder, 'in-private');
  writeFileSync(script, `#!/bin/sh\n${mounts} && exec "$@"\n`);
  chmodSync(script, 0o755);
  return {
    wrapper: ['/usr/bin/unshare', '--mount', script],
    files: () => own.flatMap((path) => filesIn(path)),
  };
}

function filesIn(path: string): string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
}
