/** Builds dist/fetch-luks-key and dist/luks-key-server for this machine's processor. */
import { resolve } from 'node:path';
import { buildExecutable } from './executable.ts';

const output = resolve(import.meta.dirname, '../dist');

try {
  const node = { path: process.execPath, strip: 'strip', isOurs: true };
  for (const name of ['luks-key-server', 'fetch-luks-key']) {
    await buildExecutable(name, node, `${output}/${name}`);
  }
} catch (thrown) {
  process.stderr.write(`build: ${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exitCode = 1;
}
