import { readFileSync } from 'node:fs';
import { Secret } from '../../src/base/secret.ts';
import { files } from '../../src/os/files.ts';
import { locksIn } from '../../src/os/locks.ts';
import { memoryFiles } from '../../src/os/memory-files.ts';
import { runner } from '../../src/os/processes.ts';
import * as table from '../../src/pins/table.ts';
import { tpmByTools } from '../../src/tpm/tpm.ts';
import { sealContext } from './contexts.ts';

/** Seals within the test's process: a handler per case is enough to start. */
export function seal(pin: string, config: unknown, secret: string | Uint8Array): Promise<string> {
  return table.seal(pin, config, new Secret(Buffer.from(secret)), sealContext());
}

/** The same with a TPM. @param lockFolder of this test's own */
export function sealerWith(
  tcti: string,
  lockFolder: string,
  overrides: Parameters<typeof sealContext>[0] = {},
): typeof seal {
  const tpm = tpmByTools({ runner, memoryFiles, files, locks: locksIn(lockFolder) }, { tcti });
  return (pin, config, secret) =>
    table.seal(pin, config, new Secret(Buffer.from(secret)), sealContext({ tpm, ...overrides }));
}

/** A sealed key of test/vectors. */
export function vector(name: string): string {
  const file = new URL(`../vectors/${name}.json`, import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { jwe: string }).jwe;
}

const parsecHeader = {
  clevis: {
    pin: 'parsec',
    parsec: { provider: 'tpm', key: 'ours', thumbprint: 'A'.repeat(43), ciphertext: 'A'.repeat(342) },
  },
  alg: 'dir',
  enc: 'A256GCM',
};
/** Of pin `parsec`, well-formed; nothing opens it. */
export const parsecSealedKey = `${Buffer.from(JSON.stringify(parsecHeader)).toString('base64url')}..${'A'.repeat(16)}.AA.${'A'.repeat(22)}`;
