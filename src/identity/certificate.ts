import { type KeyObject, sign } from 'node:crypto';

/** 1970, as UTCTime, which is for dates before 2050 (RFC 5280 §4.1.2.5). */
const BEGINNING = der(0x17, Buffer.from('700101000000Z'));
/** No well-defined end (RFC 5280 §4.1.2.5). */
const NEVER = der(0x18, Buffer.from('99991231235959Z'));
const ECDSA_WITH_SHA256 = sequence(oid('2a8648ce3d040302'));

/**
 * A self-signed certificate (RFC 5280 §4.1): what TLS wants around a key. Who we are is the key; name and dates are
 * checked by nobody, and clocks are wrong at early boot, so it is always valid.
 * @param publicKey, privateKey on P-256
 * @param commonName for people; at most 64 characters (RFC 5280 appendix A.1, ub-common-name)
 * @param serial 16 random bytes
 * @returns PEM
 */
export function selfSignedCertificate(
  publicKey: KeyObject,
  privateKey: KeyObject,
  commonName: string,
  serial: Buffer,
): string {
  const name = sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(commonName)))));
  const body = sequence(
    // Version 3: some take no other.
    der(0xa0, integer(Buffer.from([2]))),
    integer(serial),
    ECDSA_WITH_SHA256,
    name,
    sequence(BEGINNING, NEVER),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(sequence(oid('551d13'), der(0x01, Buffer.from([0xff])), der(0x04, sequence())))),
  );
  const signature = sign('sha256', body, privateKey);
  const whole = sequence(body, ECDSA_WITH_SHA256, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

/** Positive, without leading zeros (X.690 §8.3.2). */
function integer(bytes: Buffer): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = bytes.subarray(first < 0 ? bytes.length - 1 : first);
  const isNegative = ((digits[0] ?? 0) & 0x80) !== 0;
  return der(0x02, isNegative ? Buffer.concat([Buffer.from([0]), digits]) : digits);
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'));
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

/** Tag, length (X.690 §8.1.3; all of ours are below 64 KiB), contents. */
function der(tag: number, contents: Buffer): Buffer {
  const { length } = contents;
  const bytes =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...bytes]), contents]);
}
