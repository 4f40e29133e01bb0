import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');

/** Our own, for the package's `copyright`. */
export function ownLicence(name: string): string {
  return [
    `${name} is free software. Its executable also holds Node.js and npm packages, whose licences are in`,
    `/usr/share/doc/${name}/licences.gz.\n`,
    readFileSync(join(root, 'LICENSE'), 'utf8'),
  ].join('\n');
}

/** In full, those of npm packages. @param folders relative ones are from the top of the work tree */
export function licencesOf(folders: readonly string[]): string {
  return folders.map((folder) => licenceOf(resolve(root, folder))).join('\n');
}

function licenceOf(folder: string): string {
  const { name, version, license, author } = JSON.parse(
    readFileSync(join(folder, 'package.json'), 'utf8'),
  ) as { name: string; version: string; license: string; author?: string | { name: string } };
  const title = name.startsWith('node-linux-') ? `Node.js ${version}` : `${name} ${version}`;
  const [file] = globSync('LICEN[SC]E*', { cwd: folder });
  const by = typeof author === 'object' ? author.name : author;
  const text =
    file === undefined ? `Licence: ${license}, by ${by}\n` : readFileSync(join(folder, file), 'utf8');
  return `${'-'.repeat(72)}\n${title}\n${'-'.repeat(72)}\n${text}`;
}
