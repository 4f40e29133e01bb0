/**
 * Builds dist/PRODUCT_VERSION_ARCHITECTURE.deb of each product for amd64 and arm64, on either.
 * npm run package [-- --output DIR --architecture NAME --product NAME]
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildDeb } from './deb.ts';
import { buildExecutable } from './executable.ts';
import { licencesOf } from './licences.ts';
import { nodePackage } from './node-package.ts';
import { type ProductName, productNames } from './products.ts';

const root = resolve(import.meta.dirname, '..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

/** Debian's names of the processors, Node's, and the GNU tools' prefix. */
const processors = [
  { architecture: 'amd64', arch: 'x64', tools: 'x86_64-linux-gnu' },
  { architecture: 'arm64', arch: 'arm64', tools: 'aarch64-linux-gnu' },
] as const;
type Processor = (typeof processors)[number];

/** @returns path of the package */
async function packageFor(
  name: ProductName,
  { architecture, arch, tools }: Processor,
  output: string,
): Promise<string> {
  const deb = join(output, `${name}_${version}_${architecture}.deb`);
  mkdirSync(output, { recursive: true });
  const work = mkdtempSync(join(output, '.executable-'));
  try {
    const folder = nodePackage(`node-linux-${arch}`, work);
    const isOurs = process.arch === arch;
    const node = { path: join(folder, 'bin/node'), strip: `${tools}-strip`, isOurs };
    const executable = join(work, name);
    const packages = await buildExecutable(name, node, executable);
    buildDeb({ name, version, architecture, executable, licences: licencesOf([folder, ...packages]) }, deb);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return deb;
}

try {
  const { values } = parseArgs({
    options: {
      output: { type: 'string', default: join(root, 'dist') },
      architecture: { type: 'string' },
      product: { type: 'string' },
    },
  });
  const { output, architecture: only, product } = values;
  const chosen = processors.filter(({ architecture }) => (only ?? architecture) === architecture);
  if (chosen.length === 0) throw new Error(`--architecture: expected amd64 or arm64, got ${only}`);
  const names = productNames.filter((name) => (product ?? name) === name);
  if (names.length === 0) throw new Error(`--product: expected ${productNames.join(' or ')}, got ${product}`);
  for (const name of names) {
    for (const processor of chosen) {
      process.stdout.write(`${await packageFor(name, processor, resolve(output))}\n`);
    }
  }
} catch (thrown) {
  process.stderr.write(`package: ${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exitCode = 1;
}
