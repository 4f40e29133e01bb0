import { execFileSync } from 'node:child_process';
import t from 'tap';
import { AppError } from '../../src/base/errors.ts';
import {
  hasThumbprint,
  isThumbprint,
  parseEcKey,
  thumbprint,
  toJwk,
  toKeyObject,
} from '../../src/exchange/jwk.ts';

const malformed = (reason: string) => new AppError('damaged', reason);

function generated(crv: string): Record<string, string> {
  return JSON.parse(
    execFileSync('jose', ['jwk', 'gen', '-i', JSON.stringify({ alg: 'ECMR', crv })], { encoding: 'utf8' }),
  );
}

for (const crv of ['P-256', 'P-521']) {
  const jwk = generated(crv);
  t.test(`${crv}: keys that jose makes`, (t) => {
    const point = parseEcKey(jwk, malformed);
    const { x, y } = jwk;
    t.same(toJwk(point), { crv, kty: 'EC', x, y });
    t.same(toKeyObject(point).export({ format: 'jwk' }), { crv, kty: 'EC', x, y });
    for (const hash of ['S256', 'S1'] as const) {
      const expected = execFileSync('jose', ['jwk', 'thp', '-a', hash, '-i', '-'], {
        input: JSON.stringify(jwk),
        encoding: 'utf8',
      }).trim();
      t.equal(thumbprint(toJwk(point), hash), expected, hash);
      t.ok(hasThumbprint(toJwk(point), expected));
    }
    t.notOk(hasThumbprint(toJwk(point), thumbprint(toJwk(point), 'S256').toLowerCase()));
    t.end();
  });

  t.test(`${crv}: what is no key`, (t) => {
    const zero = 'A'.repeat(jwk.x?.length ?? 0);
    const cases: [string, unknown, RegExp][] = [
      ['nothing', undefined, /^expected a key with kty "EC"$/],
      ['null', null, /kty/],
      ['a list', [jwk], /kty/],
      ['another kind', { ...jwk, kty: 'OKP' }, /kty/],
      ['another curve', { ...jwk, crv: 'P-384' }, /^expected crv "P-256" or "P-521"$/],
      ['a curve from the prototype', { ...jwk, crv: 'toString' }, /crv/],
      ['no x', { ...jwk, x: undefined }, /^expected x to be \d\d bytes in base64url$/],
      ['no y', { ...jwk, y: undefined }, /^expected y to be \d\d bytes in base64url$/],
      ['a number', { ...jwk, x: 1 }, /^expected x/],
      ['padding', { ...jwk, x: `${jwk.x}=` }, /^expected x/],
      ['too long', { ...jwk, x: `AAAA${jwk.x}` }, /^expected x/],
      ['too short', { ...jwk, y: jwk.y?.slice(4) }, /^expected y/],
      ['infinity', { ...jwk, x: zero, y: zero }, /^expected a point on P-\d+, got one that is not$/],
      ['off the curve', { ...jwk, y: jwk.x }, /^expected a point on P-\d+, got one that is not$/],
    ];
    for (const [name, value, message] of cases) {
      t.throws(() => parseEcKey(value, malformed), { code: 'damaged', message }, name);
    }
    t.end();
  });
}

t.test('RFC 7638 §3.1 in kind: the members in order, and nothing else', (t) => {
  const jwk = { ...toJwk(parseEcKey(generated('P-256'), malformed)), kid: 'x', alg: 'ES256' };
  const { kid, alg, ...bare } = jwk;
  t.equal(thumbprint(jwk, 'S256'), thumbprint(bare, 'S256'));
  t.end();
});

t.test('what can be a thumbprint', (t) => {
  t.ok(isThumbprint('A'.repeat(43)));
  t.ok(isThumbprint(`${'A'.repeat(26)}E`));
  for (const text of [
    '',
    'A',
    'A'.repeat(42),
    `${'A'.repeat(42)}B`,
    `${'A'.repeat(42)}=`,
    `../${'A'.repeat(40)}`,
    7,
  ]) {
    t.notOk(isThumbprint(text), String(text));
  }
  t.end();
});
