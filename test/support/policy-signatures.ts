import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Files } from '../../src/base/ports.ts';
import { files } from '../../src/os/files.ts';
import { type HashName, selectionText } from '../../src/tpm/pcrs.ts';
import { signaturePaths } from '../../src/tpm/signatures.ts';
import type { Swtpm } from './swtpm.ts';

/** A policy key, its two halves in files. */
export interface Signer {
  readonly privateKey: string;
  readonly publicKey: string;
}

export function makeSigner(folder: string, name: string, bits = 2048): Signer {
  const pair = generateKeyPairSync('rsa', { modulusLength: bits });
  const [privateKey, publicKey] = [join(folder, `${name}.key`), join(folder, `${name}.pub`)];
  writeFileSync(privateKey, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  writeFileSync(publicKey, pair.publicKey.export({ type: 'spki', format: 'pem' }));
  return { privateKey, publicKey };
}

export interface Entry {
  pcrs: number[];
  pkfp: string;
  pol: string;
  sig: string;
}

/** Signs the PCRs' values of now, with a policy made by the TPM itself and a signature by openssl. */
export function signNow(
  folder: string,
  swtpm: Swtpm,
  { privateKey, publicKey }: Signer,
  pcrs: number[],
  bank: HashName = 'sha256',
): Entry {
  const policy = join(folder, 'policy');
  const selection = selectionText({ bank, ids: pcrs });
  swtpm.run('tpm2_createpolicy', ['-Q', '--policy-pcr', '-l', selection, '-L', policy]);
  swtpm.flush();
  const openssl = (...args: string[]) =>
    execFileSync('/usr/bin/openssl', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const der = openssl('rsa', '-pubin', '-in', publicKey, '-RSAPublicKey_out', '-outform', 'DER');
  return {
    pcrs,
    pkfp: createHash('sha256').update(der).digest('hex'),
    pol: execFileSync('/usr/bin/xxd', ['-p', '-c', '64', policy]).toString().trim(),
    sig: openssl('dgst', '-sha256', '-sign', privateKey, policy).toString('base64'),
  };
}

/** A disk where this text is systemd's file, and the others are not there. @param index of `signaturePaths` */
export function diskWith(text: string | null, index = 1): Files {
  return {
    ...files,
    read: async (path, maxBytes) => {
      if (!signaturePaths.includes(path)) return await files.read(path, maxBytes);
      return path === signaturePaths[index] && text !== null ? Buffer.from(text) : null;
    },
  };
}
