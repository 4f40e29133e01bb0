import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { toBase64url } from '../../src/base/bytes.ts';
import { AppError } from '../../src/base/errors.ts';
import { Secret } from '../../src/base/secret.ts';
import { parseCompact } from '../../src/jwe/compact.ts';
import { decryptContent, encryptCompact } from '../../src/jwe/content.ts';

const random = { bytes: (count: number) => randomBytes(count), fraction: () => 0.5 };
const key = new Secret(randomBytes(32));
const sealed = encryptCompact(
  { alg: 'dir', clevis: { pin: 'x' } },
  key,
  new Secret(Buffer.from('hello')),
  random,
);

function opens(text: string): boolean {
  return decryptContent(parseCompact(text), key)?.reveal().toString() === 'hello';
}

function outcome(text: string): string {
  try {
    return opens(text) ? 'opens' : 'does not authenticate';
  } catch (error) {
    return error instanceof AppError ? error.code : 'crash';
  }
}

t.test('what was sealed opens, also with white space around it', async (t) => {
  t.ok(opens(sealed));
  t.ok(opens(`\n${sealed} \r\n`));
});

t.test('cut at any byte it is damaged', async (t) => {
  for (let length = 0; length < sealed.length; length++)
    t.equal(outcome(sealed.slice(0, length)), 'damaged', `${length} bytes`);
});

t.test('one changed bit anywhere is noticed', async (t) => {
  for (let at = 0; at < sealed.length; at++) {
    for (let bit = 0; bit < 7; bit++) {
      const changed =
        sealed.slice(0, at) + String.fromCharCode(sealed.charCodeAt(at) ^ (1 << bit)) + sealed.slice(at + 1);
      if (changed.trim() === sealed) continue;
      const result = outcome(changed);
      if (result === 'opens' || result === 'crash') t.fail(`byte ${at}, bit ${bit}: ${result}`);
    }
  }
  t.pass('every bit of every byte');
});

t.test('another shape is damaged, and says which part', async (t) => {
  const [head = '', , iv = '', text = '', tag = ''] = sealed.split('.');
  const header = (value: unknown) => toBase64url(Buffer.from(JSON.stringify(value)));
  const bad: [string, string, RegExp][] = [
    ['nothing', '', /got nothing/],
    ['an encrypted key', `${head}.AAAA.${iv}.${text}.${tag}`, /encrypted key/],
    [
      'enc',
      `${header({ alg: 'dir', enc: 'A128GCM' })}..${iv}.${text}.${tag}`,
      /enc: expected "A256GCM", got "A128GCM"/,
    ],
    ['no enc', `${header({ alg: 'dir' })}..${iv}.${text}.${tag}`, /enc: .* got nothing/],
    [
      'zip',
      `${header({ alg: 'dir', enc: 'A256GCM', zip: 'DEF' })}..${iv}.${text}.${tag}`,
      /zip: expected none/,
    ],
    [
      'crit',
      `${header({ alg: 'dir', enc: 'A256GCM', crit: ['x'] })}..${iv}.${text}.${tag}`,
      /crit: expected none/,
    ],
    ['a header that is a list', `${header([])}..${iv}.${text}.${tag}`, /object/],
    ['a header that is no JSON', `${toBase64url(Buffer.from('{'))}..${iv}.${text}.${tag}`, /JSON/],
    ['padding', `${head}..${iv}.${text}.${tag}==`, /tag .*base64url/],
    ['a short iv', `${head}..${iv.slice(4)}.${text}.${tag}`, /12 bytes, got 9/],
    ['2 MiB', sealed + '.'.repeat(2 ** 21), /at most 1835008 bytes, got 2097/],
  ];
  for (const [what, jwe, message] of bad)
    t.throws(() => parseCompact(jwe), { code: 'damaged', message }, what);
});

t.test('any text either parses or is damaged', async (t) => {
  const pieces = fc.constantFrom(...sealed.split('.'), '', 'AAAA', 'e30', '!', ' ');
  fc.assert(
    fc.property(fc.array(fc.oneof(pieces, fc.string()), { maxLength: 7 }), (parts) => {
      return ['opens', 'does not authenticate', 'damaged'].includes(outcome(parts.join('.')));
    }),
  );
  t.pass('held for every example');
});

t.test('an empty secret is a secret', async (t) => {
  const empty = encryptCompact({ alg: 'dir' }, key, new Secret(Buffer.alloc(0)), random);
  t.equal(decryptContent(parseCompact(empty), key)?.length, 0);
  t.equal(decryptContent(parseCompact(empty), new Secret(randomBytes(32))), null);
  t.equal(decryptContent(parseCompact(empty), new Secret(randomBytes(16))), null, 'a key of another size');
});
