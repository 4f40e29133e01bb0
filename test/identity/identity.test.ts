import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { identityFromPem, identityToPem, makeIdentity } from '../../src/identity/identity.ts';
import { random } from '../../src/os/random.ts';
import { run } from '../support/run.ts';

t.test('OpenSSL takes the certificate at its strictest', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'identity-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'identity.pem');
  const identity = makeIdentity('keys.example', random);
  writeFileSync(file, identityToPem(identity));
  const openssl = async (...args: string[]) => {
    const { stdout, status } = await run(['/usr/bin/openssl', ...args], Buffer.alloc(0), {});
    t.equal(status, 0, args.join(' '));
    return stdout.toString();
  };
  t.match(await openssl('verify', '-x509_strict', '-CAfile', file, file), /: OK$/m);
  const shown = await openssl('x509', '-in', file, '-noout', '-subject', '-issuer', '-startdate', '-enddate');
  t.same(shown.trim().split('\n'), [
    'subject=CN = keys.example',
    'issuer=CN = keys.example',
    'notBefore=Jan  1 00:00:00 1970 GMT',
    'notAfter=Dec 31 23:59:59 9999 GMT',
  ]);
  t.match(await openssl('x509', '-in', file, '-noout', '-text'), /Version: 3.*prime256v1.*CA:FALSE/s);
  const der = await run(
    ['/usr/bin/openssl', 'pkey', '-in', file, '-pubout', '-outform', 'DER'],
    Buffer.alloc(0),
    {},
  );
  const digest = await run(['/usr/bin/sha256sum'], der.stdout, {});
  t.match(
    digest.stdout.toString(),
    identity.pinSha256.toString('hex'),
    'its pin, as OpenSSL and sha256sum see it',
  );
});

t.test('every serial number is one that DER allows', async (t) => {
  const serials = ['80', '00', '0000ff', '7f', '0080', 'ff'].map((start) => start.padEnd(32, '0'));
  serials.push('00'.repeat(16));
  for (const serial of serials) {
    const bytes = Buffer.from(serial, 'hex');
    const { certificate } = makeIdentity('x', { ...random, bytes: () => bytes });
    const expected = BigInt(`0x${serial}`).toString(16).toUpperCase();
    const got = new X509Certificate(certificate).serialNumber;
    t.equal(BigInt(`0x${got}`).toString(16).toUpperCase(), expected, serial);
  }
});

t.test('each is another', async (t) => {
  const [one, other] = [makeIdentity('x', random), makeIdentity('x', random)];
  t.notOk(one.pinSha256.equals(other.pinSha256));
  t.notOk(one.certificate.equals(other.certificate));
});

t.test('there and back, in any order', async (t) => {
  const identity = makeIdentity('keys.example', random);
  const { certificate, key } = identity;
  for (const pem of [
    identityToPem(identity),
    Buffer.concat([certificate, key]),
    `note\n${key}\r\n${certificate}`,
  ]) {
    t.same(identityFromPem(Buffer.from(pem), 'file').pinSha256, identity.pinSha256);
  }
  const issuer = makeIdentity('an authority', random).certificate;
  const chain = identityFromPem(Buffer.concat([key, certificate, issuer]), 'file').certificate;
  t.equal(chain.toString().match(/BEGIN CERTIFICATE/g)?.length, 2, 'a chain stays whole');
});

t.test('what is none is told by name, without its contents', async (t) => {
  const identity = makeIdentity('x', random);
  const { certificate, key } = identity;
  const other = makeIdentity('x', random);
  const cases: [string, Uint8Array][] = [
    ['nothing', Buffer.alloc(0)],
    ['no certificate', key],
    ['no key', certificate],
    ['a cut key', Buffer.concat([key.subarray(0, 100), certificate])],
    [
      'a damaged key',
      Buffer.from(
        identityToPem(identity)
          .toString()
          .replace(/MIG.{10}/, 'MIGxxxxxxxxxx'),
      ),
    ],
    ['a certificate of another key', Buffer.concat([key, other.certificate])],
  ];
  for (const [title, pem] of cases) {
    const fault = t.throws(
      () => identityFromPem(Buffer.from(pem), '/etc/x.pem'),
      { code: 'bad-config' },
      title,
    );
    t.match(fault, { message: /^\/etc\/x\.pem: [a-z ]+( in PEM)?$/i });
  }
});
