import { execFileSync } from 'node:child_process';
import { createPrivateKey, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { AppError } from '../../src/base/errors.ts';
import { readAdvertisement } from '../../src/exchange/advertisement.ts';
import { toJwk } from '../../src/exchange/jwk.ts';

type Json = Record<string, unknown>;

const folder = mkdtempSync(join(tmpdir(), 'advertisement-'));
t.teardown(() => rmSync(folder, { recursive: true }));

const malformed = (reason: string) => new AppError('unavailable', reason);

function jose(args: readonly string[], input = ''): string {
  return execFileSync('jose', args, { input, encoding: 'utf8' });
}

function generate(template: Json): Json {
  return JSON.parse(jose(['jwk', 'gen', '-i', JSON.stringify(template)]));
}

function open(key: Json): Json {
  const { d, ...rest } = key;
  return Array.isArray(rest.key_ops)
    ? { ...rest, key_ops: rest.key_ops.filter((operation: string) => operation !== 'sign') }
    : rest;
}

/** A JWS that jose makes, over the public parts of `keys`, signed by `signers`. */
function advertise(
  keys: readonly Json[],
  signers: readonly Json[],
  header: Json = { cty: 'jwk-set+json' },
): Json {
  const payload = Buffer.from(JSON.stringify({ keys: keys.map(open) })).toString('base64url');
  const file = join(folder, 'signer.jwk');
  let jws: Json = { payload };
  for (const signer of signers) {
    writeFileSync(file, JSON.stringify(signer));
    const template = JSON.stringify({ protected: header });
    jws = JSON.parse(jose(['jws', 'sig', '-i-', '-k', file, '-s', template], JSON.stringify(jws)));
  }
  return jws;
}

const es512 = generate({ alg: 'ES512' });
const es256 = generate({ alg: 'ES256' });
const exchange = generate({ alg: 'ECMR', crv: 'P-521' });
const small = generate({ alg: 'ECMR', crv: 'P-256' });

function coordinates(keys: readonly { x: unknown }[]): unknown[] {
  return keys.map(({ x }) => x);
}

t.test('flattened, as a Tang server with one signing key sends it', (t) => {
  const jws = advertise([exchange, es512], [es512]);
  t.ok('signature' in jws);
  const { jwks, signingKeys, exchangeKeys } = readAdvertisement(jws, malformed);
  t.same(jwks, { keys: [open(exchange), open(es512)] });
  t.same(coordinates(signingKeys.map(toJwk)), [es512.x]);
  t.same(coordinates(exchangeKeys.map(toJwk)), [exchange.x]);
  t.end();
});

t.test('general, with several keys of both curves', (t) => {
  const jws = advertise([small, es256, exchange, es512], [es512, es256]);
  t.ok(Array.isArray(jws.signatures));
  const { signingKeys, exchangeKeys } = readAdvertisement(jws, malformed);
  t.same(coordinates(signingKeys.map(toJwk)), [es256.x, es512.x]);
  t.same(coordinates(exchangeKeys.map(toJwk)), [small.x, exchange.x]);
  t.end();
});

t.test('a signature of a key that is not advertised does no harm, as with jose', (t) => {
  const jws = advertise([exchange, es512], [es256, es512]);
  t.equal(readAdvertisement(jws, malformed).signingKeys.length, 1);
  t.end();
});

t.test('every signing key must have signed', (t) => {
  const both = [exchange, es512, es256];
  const missing = /^expected a signature of key [\w-]{43}, got none that verifies$/;
  t.throws(() => readAdvertisement(advertise(both, [es512]), malformed), {
    code: 'unavailable',
    message: missing,
  });
  const stranger = generate({ alg: 'ES512' });
  t.throws(() => readAdvertisement(advertise([exchange, es512], [stranger]), malformed), {
    message: missing,
  });
  t.end();
});

t.test('any change is seen', (t) => {
  const good = advertise([exchange, es512], [es512]);
  const other = advertise([small, es512], [es512]);
  const flipped = (text: unknown) => `${String(text).slice(0, -8)}AAAAAAAA`;
  const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const cases: [string, Json, RegExp][] = [
    ['payload', { ...good, payload: other.payload }, /none that verifies/],
    ['signature', { ...good, signature: flipped(good.signature) }, /none that verifies/],
    ['empty signature', { ...good, signature: '' }, /none that verifies/],
    ['alg none', { ...good, protected: encoded({ alg: 'none' }) }, /none that verifies/],
    ['alg of the other curve', { ...good, protected: encoded({ alg: 'ES256' }) }, /none that verifies/],
    ['no signature', { payload: good.payload }, /expected a signature with a protected header/],
    ['no signatures', { payload: good.payload, signatures: [] }, /none that verifies/],
    [
      'header in the clear only',
      { ...good, protected: undefined, header: { alg: 'ES512' } },
      /protected header/,
    ],
    ['header is no JSON', { ...good, protected: 'AAAA' }, /protected header: a JSON object/],
    ['signatures is no list', { ...good, signatures: {} }, /signatures to be a list/],
    ['too many signatures', { ...good, signatures: Array(33).fill(good) }, /at most 32 signatures, got 33/],
    ['no payload', { ...good, payload: undefined }, /with a payload/],
    ['payload is no JWK set', { ...good, payload: encoded([]) }, /a JWK set/],
    ['payload without keys', { ...good, payload: encoded({}) }, /keys to be a list/],
    ['too many keys', { ...good, payload: encoded({ keys: Array(33).fill({}) }) }, /at most 32 keys, got 33/],
    ['payload is no base64url', { ...good, payload: '!!' }, /a JWK set/],
  ];
  for (const [name, jws, message] of cases) {
    t.throws(() => readAdvertisement(jws, malformed), { code: 'unavailable', message }, name);
  }
  for (const jws of [null, undefined, 'text', 7, []]) {
    t.throws(() => readAdvertisement(jws, malformed), { message: /^expected a JWS as JSON/ });
  }
  t.end();
});

t.test('what is signed must still make sense', (t) => {
  const offCurve = { ...exchange, y: exchange.x };
  const cases: [string, Json, RegExp][] = [
    ['nothing to seal to', advertise([es512], [es512]), /^expected a key for deriveKey, got none$/],
    ['nobody to trust', advertise([exchange], [es512]), /^expected a key for verify, got none$/],
    ['off the curve', advertise([offCurve, es512], [es512]), /^key for deriveKey: expected a point on P-521/],
    ['crit', advertise([exchange, es512], [es512], { crit: ['x'], x: 1 }), /expected no crit, got one$/],
  ];
  for (const [name, jws, message] of cases) {
    t.throws(() => readAdvertisement(jws, malformed), { code: 'unavailable', message }, name);
  }
  // The key says what it may sign with, and that is not what was used.
  const mislabelled = { ...es512, alg: 'ES256' };
  const jws = advertise([exchange, mislabelled], [es512]);
  t.throws(() => readAdvertisement(jws, malformed), { message: /none that verifies/ });
  // The header says another algorithm than the one that the signature is of.
  const { payload } = advertise([exchange, es512], [es512]);
  const lying = Buffer.from('{"alg":"ES256"}').toString('base64url');
  const key = createPrivateKey({ key: es512, format: 'jwk' });
  const signature = sign('sha512', Buffer.from(`${lying}.${payload}`), { key, dsaEncoding: 'ieee-p1363' });
  const liar = { payload, protected: lying, signature: signature.toString('base64url') };
  t.throws(() => readAdvertisement(liar, malformed), { message: /none that verifies/ });
  t.end();
});
