import { generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import { keyPinOf } from '../../src/base/key-pin.ts';
import { lineOf, type Succession, succession } from '../../src/identity/succession.ts';

const made = () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { privateKey, pin: keyPinOf(publicKey) };
};
const [a, b, c, stranger] = [made(), made(), made(), made()];
const first = succession(a.privateKey, b.pin);
const second = succession(b.privateKey, c.pin);

t.test('each key gives its word for the next', async (t) => {
  t.strictSame(lineOf([]), []);
  t.strictSame(lineOf([first]), [a.pin, b.pin]);
  t.strictSame(lineOf([first, second]), [a.pin, b.pin, c.pin]);
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  t.strictSame(lineOf([succession(privateKey, a.pin), first]), [keyPinOf(publicKey), a.pin, b.pin]);
});

t.test('a line ends where a word is not that of the key before', async (t) => {
  const forged = { ...second, signature: succession(stranger.privateKey, c.pin).signature };
  t.strictSame(lineOf([first, forged]), [a.pin, b.pin], 'signed by another');
  t.strictSame(lineOf([first, succession(stranger.privateKey, c.pin)]), [a.pin, b.pin], 'a stranger’s own');
  t.strictSame(lineOf([first, { ...second, next: first.next }]), [a.pin, b.pin], 'for another');
  t.strictSame(lineOf([second, first]), [b.pin, c.pin], 'the other way round');
  for (const broken of [
    { ...first, key: 'AAAA' },
    { ...first, key: '' },
    { ...first, next: 'sha256/short' },
    { ...first, signature: '***' },
    { ...first, signature: '' },
    { ...first, signature: 3 } as never as Succession,
  ]) {
    t.strictSame(lineOf([broken, second]), [], JSON.stringify(broken));
  }
});
