import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto';
import { isIP } from 'node:net';

/** X.509 certificates for tests (RFC 5280), in DER by hand: Node reads them, but makes none. */

export interface Identity {
  /** PEM. */
  readonly certificate: Buffer;
  readonly key: Buffer;
  /** SHA-256 of the SubjectPublicKeyInfo. */
  readonly pinSha256: Buffer;
}

export interface Wanted {
  /** Names and IPv4 addresses that the certificate is for. */
  readonly names?: readonly string[];
  readonly from?: Date;
  readonly until?: Date;
}

export interface Authority {
  /** PEM. */
  readonly certificate: Buffer;
  issue(wanted: Wanted): Identity;
}

const DAY_MS = 86_400_000;

export function daysFromNow(days: number): Date {
  return new Date(Date.now() + days * DAY_MS);
}

export function createAuthority(name: string): Authority {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const root = { subject: name, publicKey: keys.publicKey, issuer: name, issuerKey: keys.privateKey };
  return {
    certificate: certificate({ ...root, authority: true, wanted: {} }),
    issue(wanted) {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const issued = { subject: 'end entity', publicKey, issuer: name, issuerKey: keys.privateKey };
      return identity(certificate({ ...issued, authority: false, wanted }), publicKey, privateKey);
    },
  };
}

export function selfSigned(wanted: Wanted): Identity {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const own = { subject: 'self-signed', publicKey, issuer: 'self-signed', issuerKey: privateKey };
  return identity(certificate({ ...own, authority: false, wanted }), publicKey, privateKey);
}

/** Another certificate of the same key. */
export function renewed({ key }: Identity, wanted: Wanted): Identity {
  const privateKey = createPrivateKey(key);
  const publicKey = createPublicKey(privateKey);
  const own = { subject: 'renewed', publicKey, issuer: 'renewed', issuerKey: privateKey };
  return identity(certificate({ ...own, authority: false, wanted }), publicKey, privateKey);
}

function identity(pem: Buffer, publicKey: KeyObject, privateKey: KeyObject): Identity {
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return {
    certificate: pem,
    key: Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    pinSha256: createHash('sha256').update(spki).digest(),
  };
}

interface Contents {
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly issuer: string;
  readonly issuerKey: KeyObject;
  readonly authority: boolean;
  readonly wanted: Wanted;
}

let serial = 1;

function certificate({ subject, publicKey, issuer, issuerKey, authority, wanted }: Contents): Buffer {
  const algorithm = sequence(oid('2a8648ce3d040302')); // ecdsa-with-SHA256
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // v3
    der(0x02, Buffer.from([serial++])),
    algorithm,
    distinguishedName(issuer),
    sequence(time(wanted.from ?? daysFromNow(-1)), time(wanted.until ?? daysFromNow(1))),
    distinguishedName(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(basicConstraints(authority), ...alternativeNames(wanted.names ?? []))),
  );
  const signature = sign('sha256', body, issuerKey);
  const whole = sequence(body, algorithm, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return Buffer.from(`-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`);
}

function basicConstraints(authority: boolean): Buffer {
  const yes = der(0x01, Buffer.from([0xff]));
  return sequence(oid('551d13'), yes, der(0x04, authority ? sequence(yes) : sequence()));
}

function alternativeNames(names: readonly string[]): Buffer[] {
  if (names.length === 0) return [];
  const entries = names.map((name) =>
    isIP(name) === 4 ? der(0x87, Buffer.from(name.split('.').map(Number))) : der(0x82, Buffer.from(name)),
  );
  return [sequence(oid('551d11'), der(0x04, sequence(...entries)))];
}

function distinguishedName(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(commonName)))));
}

/** GeneralizedTime. */
function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/\.\d+|[-:T]/g, '');
  return der(0x18, Buffer.from(digits));
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'));
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function der(tag: number, contents: Buffer): Buffer {
  const { length } = contents;
  const bytes =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...bytes]), contents]);
}
