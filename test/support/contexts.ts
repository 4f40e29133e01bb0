import { Secret } from '../../src/base/secret.ts';
import type { Credentials } from '../../src/creds/credentials.ts';
import { files } from '../../src/os/files.ts';
import { http } from '../../src/os/http.ts';
import { random } from '../../src/os/random.ts';
import type { Parsec } from '../../src/parsec/parsec.ts';
import type { OpenContext, SealContext } from '../../src/pins/pin.ts';
import type { Tpm } from '../../src/tpm/tpm.ts';

/** No TPM here: whatever is asked of it throws. */
const noTpm = new Proxy({} as Tpm, {
  get(_target, name) {
    throw new Error(`tpm.${String(name)} was asked for`);
  },
});

const noServers = { byName: () => null, byPin: () => null };

const noParsec = new Proxy({} as Parsec, {
  get(_target, name) {
    throw new Error(`parsec.${String(name)} was asked for`);
  },
});

const noCredentials = new Proxy({} as Credentials, {
  get(_target, name) {
    throw new Error(`credentials.${String(name)} was asked for`);
  },
});

/** The real network and files, one try, and no TPM. */
export function openContext(overrides: Partial<OpenContext> = {}): OpenContext {
  return {
    tpm: noTpm,
    http,
    random,
    servers: noServers,
    credentials: noCredentials,
    parsec: noParsec,
    askPin() {
      throw new Error('a PIN was asked for');
    },
    attempt: (_title, signal, once) => once(signal),
    afterwards() {},
    ...overrides,
  };
}

/** The same; nobody answers questions. */
export function sealContext(overrides: Partial<SealContext> = {}): SealContext {
  return {
    tpm: noTpm,
    http,
    random,
    files,
    servers: noServers,
    credentials: noCredentials,
    parsec: noParsec,
    whole: new Secret(Buffer.alloc(0)),
    signal: new AbortController().signal,
    newPin() {
      throw new Error('a PIN was asked for');
    },
    confirm(lines) {
      throw new Error(`asked: ${lines.join(' ')}`);
    },
    seal() {
      throw new Error('a nested pin was asked for');
    },
    ...overrides,
  };
}
