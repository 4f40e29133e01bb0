/**
 * Builds dist/fetch-luks-key_VERSION_ARCHITECTURE.deb for amd64 and arm64, on either.
 * npm run package [-- --output DIR --architecture NAME]
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildDeb } from './deb.ts';
import { buildExecutable, type NodeBinary } from './executable.ts';
import { foreignNode } from './foreign-node.ts';

const root = resolve(import.meta.dirname, '..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

/** Debian's names of the processors, Node's, and the GNU tools' prefix. */
const processors = [
  { architecture: 'amd64', arch: 'x64', tools: 'x86_64-linux-gnu' },
  { architecture: 'arm64', arch: 'arm64', tools: 'aarch64-linux-gnu' },
] as const;

const { values } = parseArgs({
  options: { output: { type: 'string', default: join(root, 'dist') }, architecture: { type: 'string' } },
});
const output = resolve(values.output);

try {
  for (const { architecture, arch, tools } of processors) {
    if ((values.architecture ?? architecture) !== architecture) continue;
    const isOurs = process.arch === arch;
    const node: NodeBinary = isOurs
      ? { path: process.execPath, strip: 'strip', isOurs }
      : { path: foreignNode(`node-linux-${arch}`), strip: `${tools}-strip`, isOurs };
    const deb = join(output, `fetch-luks-key_${version}_${architecture}.deb`);
    const work = mkdtempSync(join(root, 'dist/.executable-'));
    try {
      const executable = join(work, 'fetch-luks-key');
      await buildExecutable('fetch-luks-key', node, executable);
      buildDeb(architecture, executable, version, deb);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
    process.stdout.write(`${deb}\n`);
  }
} catch (thrown) {
  process.stderr.write(`package: ${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exitCode = 1;
}
