import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { activate } from '../test/support/activation.ts';
import { copyImage, makeImage } from '../test/support/luks.ts';
import type { Swtpm } from '../test/support/swtpm.ts';
import { median } from './measure.ts';

const RUNS = 10;
const BAR_MS = 5000;

/**
 * `enroll` on an image from the command to the proof through a real socket. The passphrase is derived by pbkdf2 with few
 * iterations: what argon2 costs is the passphrase's own affair.
 */
export async function enrolling(executable: string, folder: string, tpm: Swtpm): Promise<string> {
  const own = join(folder, 'enrol');
  const etc = join(own, 'etc');
  mkdirSync(etc, { recursive: true });
  const model = makeImage(own, 'model');
  const crypttab = join(own, 'crypttab');
  const environment = { TPM2TOOLS_TCTI: tpm.tcti };
  const places = ['--etc', etc, '--crypttab', crypttab];
  const socket = await activate(places, { environment, program: [executable] });
  const timesMs: number[] = [];
  try {
    for (let run = 0; run < RUNS; run++) {
      const path = join(own, `image${run}`);
      copyImage(model.path, path);
      writeFileSync(crypttab, `volume${run} ${path} none luks\n`);
      const args = ['enroll', `volume${run}`, '--tpm2', '--unlock-key-file', model.keyFile, '--json'];
      const startMs = performance.now();
      const out = execFileSync(executable, [...args, ...places, '--socket', socket.path], {
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...environment },
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      timesMs.push(performance.now() - startMs);
      if (JSON.parse(out.toString())['proven-by'] !== 'socket') throw new Error(out.toString());
      await socket.ended();
      tpm.flush();
    }
  } finally {
    await socket.stop();
  }
  const ms = median(timesMs);
  const verdict = ms <= BAR_MS ? '' : ', **missed**';
  return `## From \`enroll\` typed to proven

An image file, \`--tpm2\`, a passphrase by pbkdf2: keyslot, sealed key, crypttab, and what the real socket answers opens it.
Median of ${RUNS} runs; the slowest took ${Math.max(...timesMs).toFixed(0)} ms.

| | ms | bar |
|---|---|---|
| \`enroll\` | ${ms.toFixed(0)} | ≤ ${BAR_MS}${verdict} |`;
}
