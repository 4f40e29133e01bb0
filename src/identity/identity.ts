import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from 'node:crypto';
import { AppError } from '../base/errors.ts';
import { keyPinOf } from '../base/key-pin.ts';
import type { Random } from '../base/ports.ts';
import { selfSignedCertificate } from './certificate.ts';

/** A key for TLS, and a certificate of it: a server's, or a machine's for one server. */
export interface Identity {
  /** PEM; those that lead to its authority may follow it. */
  readonly certificate: Buffer;
  /** PEM (PKCS #8). Secret. */
  readonly key: Buffer;
  readonly privateKey: KeyObject;
  /** SHA-256 of the key's SubjectPublicKeyInfo. */
  readonly pinSha256: Buffer;
}

/** A new key on P-256, which every TLS has and OpenSSL is fastest with. */
export function makeIdentity(commonName: string, random: Random): Identity {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    certificate: Buffer.from(selfSignedCertificate(publicKey, privateKey, commonName, random.bytes(16))),
    key: Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    privateKey,
    pinSha256: keyPinOf(publicKey),
  };
}

/** One file: the key, then its certificate. */
export function identityToPem({ certificate, key }: Identity): Buffer {
  return Buffer.concat([key, certificate]);
}

/**
 * @param pem as `identityToPem` writes it, or with the two in another order
 * @param where names it in errors
 * @throws AppError `bad-config`: no key, no certificate, or one of another key
 */
export function identityFromPem(pem: Buffer, where: string): Identity {
  const blocks = /-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----/g;
  const found = [...pem.toString('latin1').matchAll(blocks)];
  const [key] = found.flatMap(([text, label = '']) => (label.endsWith('PRIVATE KEY') ? [text] : []));
  const certificates = found.flatMap(([text, label]) => (label === 'CERTIFICATE' ? [text] : []));
  if (key === undefined || certificates.length === 0) {
    throw new AppError('bad-config', `${where}: expected a private key and a certificate in PEM`);
  }
  const chain = Buffer.from(`${certificates.join('\n')}\n`);
  try {
    const privateKey = createPrivateKey(key);
    if (!new X509Certificate(chain).checkPrivateKey(privateKey)) {
      throw new AppError('bad-config', `${where}: the certificate is of another key`);
    }
    const pinSha256 = keyPinOf(createPublicKey(privateKey));
    return { certificate: chain, key: Buffer.from(`${key}\n`), privateKey, pinSha256 };
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('bad-config', `${where}: expected a private key and a certificate in PEM`, { cause });
  }
}
