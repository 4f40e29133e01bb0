/** Builds dist/fetch-luks-key for this machine's processor. */
import { resolve } from 'node:path';
import { buildExecutable } from './executable.ts';

const output = resolve(import.meta.dirname, '../dist/fetch-luks-key');

try {
  const node = { path: process.execPath, strip: 'strip', isOurs: true };
  await buildExecutable('fetch-luks-key', node, output);
} catch (thrown) {
  process.stderr.write(`build: ${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exitCode = 1;
}
