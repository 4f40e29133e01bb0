import type { Test } from 'tap';
import { credentialsBySystemd } from '../../src/creds/credentials.ts';
import { files } from '../../src/os/files.ts';
import { http } from '../../src/os/http.ts';
import { localService } from '../../src/os/local-service.ts';
import { runner } from '../../src/os/processes.ts';
import { random } from '../../src/os/random.ts';
import { parsecAt } from '../../src/parsec/parsec.ts';
import type { ProtectionWorld } from '../../src/protection/world.ts';
import { ownFolder, tpmAt } from './tpm.ts';

/** A machine's TPM and Parsec. @param socket none by default */
export function protectionWorld(t: Test, tcti: string, socket = '/nowhere/parsec.sock'): ProtectionWorld {
  return {
    files,
    http,
    random,
    credentials: credentialsBySystemd(runner),
    tpm: tpmAt(tcti, ownFolder(t)),
    parsec: parsecAt(
      localService(() => socket),
      process.getuid?.() ?? 0,
    ),
  };
}

export const NO_TPM = 'device:/dev/tpm-of-nobody';
