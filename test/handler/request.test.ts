import fc from 'fast-check';
import t from 'tap';
import { AppError } from '../../src/base/errors.ts';
import { parseRequest, refusalFor } from '../../src/handler/request.ts';

const address = (text: string) => Buffer.from(`\0${text}`);

t.test('what systemd asks for is understood', async (t) => {
  const known: [string, object][] = [
    ['0/cryptsetup/data', { kind: 'volume', volume: 'data' }],
    ['ffffffffffffffff/cryptsetup/luks-1b2', { kind: 'volume', volume: 'luks-1b2' }],
    ['1a/cryptsetup/Übung µ', { kind: 'volume', volume: 'Übung µ' }],
    [`1a/cryptsetup/${'v'.repeat(78)}`, { kind: 'volume', volume: 'v'.repeat(78) }],
    ['1a/cryptsetup-tpm2/data', { kind: 'blob', token: 'tpm2', volume: 'data' }],
    ['1a/cryptsetup-pkcs11/data', { kind: 'blob', token: 'pkcs11', volume: 'data' }],
    ['1a/cryptsetup-fido2/data', { kind: 'blob', token: 'fido2', volume: 'data' }],
    ['1a/cryptsetup-fido2-salt/data', { kind: 'blob', token: 'fido2-salt', volume: 'data' }],
    ['1a/unit/pg@1.service/password', { kind: 'credential', unit: 'pg@1.service', credential: 'password' }],
  ];
  for (const [text, request] of known) t.same(parseRequest(address(text)), request, text);
});

t.test('what systemd would never ask for is a bad request, and answered without helping', async (t) => {
  const bad: [string, Buffer, string][] = [
    ['no name', Buffer.alloc(0), 'empty'],
    ['a path, not abstract', Buffer.from('/run/client.sock'), 'empty'],
    ['no known prefix', address('1a/cryptsetup-new/data'), 'empty'],
    ['no hex', address('/cryptsetup/data'), 'random'],
    ['17 hex digits', address(`${'a'.repeat(17)}/cryptsetup/data`), 'random'],
    ['upper case', address('1A/cryptsetup/data'), 'random'],
    ['empty volume', address('1a/cryptsetup/'), 'random'],
    ['dot dot', address('1a/cryptsetup/..'), 'random'],
    ['79 bytes', address(`1a/cryptsetup/${'v'.repeat(79)}`), 'random'],
    ['79 bytes in 40 letters', address(`1a/cryptsetup/${'ü'.repeat(39)}v`), 'random'],
    ['an extra slash', address('1a/cryptsetup/a/b'), 'random'],
    ['a line feed', address('1a/cryptsetup/a\nb'), 'random'],
    ['not UTF-8', Buffer.concat([address('1a/cryptsetup/a'), Buffer.from([0xff])]), 'random'],
    ['a token for ..', address('1a/cryptsetup-tpm2/..'), 'empty'],
    ['a unit without credential', address('1a/unit/x.service'), 'over-long'],
    ['a credential that climbs', address('1a/unit/x.service/../../shadow'), 'over-long'],
    ['84 bytes of unit and credential', address(`1a/unit/${'u'.repeat(80)}/cccc`), 'over-long'],
  ];
  for (const [what, peer, refusal] of bad) {
    t.throws(() => parseRequest(peer), { code: 'bad-request' }, what);
    t.equal(refusalFor(peer), refusal, `${what}: answer`);
  }
});

t.test('any bytes either parse or are refused in one line', async (t) => {
  const prefix = fc.constantFrom(
    '',
    '1a/cryptsetup/',
    '1a/cryptsetup-tpm2/',
    '1a/unit/',
    'zz/',
    '1a/cryptsetup//',
  );
  fc.assert(
    fc.property(prefix, fc.uint8Array({ maxLength: 107 }), (start, bytes) => {
      const peer = Buffer.concat([address(start), bytes]);
      try {
        const request = parseRequest(peer);
        const names = request.kind === 'credential' ? [request.unit, request.credential] : [request.volume];
        return names.every(
          (name) => name !== '' && name !== '..' && !name.includes('/') && !name.includes('\0'),
        );
      } catch (error) {
        return error instanceof AppError && error.code === 'bad-request' && !/[\0\n]/.test(error.message);
      }
    }),
  );
  t.pass('held for every example');
});

t.test('a name comes back as it was bound', async (t) => {
  const name = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => {
    const visible = [...text].every((c) => c.charCodeAt(0) > 31 && c !== '/' && c.charCodeAt(0) !== 127);
    return visible && Buffer.byteLength(text) <= 78 && text !== '.' && text !== '..' && text.isWellFormed();
  });
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), name, (number, volume) => {
      const request = parseRequest(address(`${number.toString(16)}/cryptsetup/${volume}`));
      return request.kind === 'volume' && request.volume === volume;
    }),
  );
  t.pass('held for every example');
});
