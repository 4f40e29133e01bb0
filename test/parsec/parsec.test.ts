import { createPublicKey } from 'node:crypto';
import t, { type Test } from 'tap';
import { localService } from '../../src/os/local-service.ts';
import { type Parsec, type ProviderName, parsecAt } from '../../src/parsec/parsec.ts';
import { ownParsec, type Provider } from '../support/parsec.ts';
import { noAbort, ownSwtpm, secretOf } from '../support/tpm.ts';

t.setTimeout(120_000);

const uid = process.getuid?.() ?? 0;
const clientOf = (socket: string, user = uid): Parsec =>
  parsecAt(
    localService(() => socket),
    user,
  );

/** One body for each provider of a real service. */
async function keepsAKey(t: Test, provider: ProviderName, own: Provider) {
  const service = await ownParsec(t, [own]);
  const parsec = clientOf(service.socket);
  t.same(await parsec.providers(noAbort), [provider]);

  await t.rejects(parsec.encrypt(provider, 'ours', secretOf('x'), noAbort), {
    code: 'foreign-tpm',
    message: `parsec: encrypt with the key ours of provider ${provider}: it has no such key of this user (status 1140)`,
  });
  await parsec.makeKey(provider, 'ours', noAbort);
  // What is there stays.
  await parsec.makeKey(provider, 'ours', noAbort);
  const publicKey = await parsec.publicKey(provider, 'ours', noAbort);
  const key = createPublicKey({ key: publicKey, format: 'der', type: 'pkcs1' });
  t.same(key.asymmetricKeyDetails?.modulusLength, 2048);
  const longest = 'k'.repeat(190);
  const ciphertext = await parsec.encrypt(provider, 'ours', secretOf(longest), noAbort);
  t.equal(ciphertext.length, 256);
  const opened = await parsec.decrypt(provider, 'ours', ciphertext, noAbort);
  t.equal(opened.reveal().toString(), longest);

  const flipped = Buffer.from(ciphertext);
  flipped[100] = (flipped[100] ?? 0) ^ 1;
  // The TPM provider does not tell this from a fault of the TPM.
  const code = provider === 'tpm' ? 'unavailable' : 'foreign-tpm';
  await t.rejects(parsec.decrypt(provider, 'ours', flipped, noAbort), { code }, 'one bit flipped');

  await service.stop();
  await service.start();
  const again = await parsec.decrypt(provider, 'ours', ciphertext, noAbort);
  t.equal(again.reveal().toString(), longest, 'after a restart');

  await service.stop();
  service.forget();
  await service.start();
  await t.rejects(parsec.decrypt(provider, 'ours', ciphertext, noAbort), { code: 'foreign-tpm' }, 'no key');
  await parsec.makeKey(provider, 'ours', noAbort);
  await t.rejects(parsec.decrypt(provider, 'ours', ciphertext, noAbort), { code }, 'another key');
  t.notSame(await parsec.publicKey(provider, 'ours', noAbort), publicKey);
}

t.test('the software provider', (t) => keepsAKey(t, 'mbed-crypto', 'MbedCrypto'));

t.test('the TPM provider', async (t) => {
  const { tcti } = await ownSwtpm(t);
  await keepsAKey(t, 'tpm', { tcti });
});

t.test('two providers, in the order of the service', async (t) => {
  const { tcti } = await ownSwtpm(t);
  const { socket } = await ownParsec(t, ['MbedCrypto', { tcti }]);
  t.same(await clientOf(socket).providers(noAbort), ['mbed-crypto', 'tpm']);
});

t.test('who says that he is somebody else', async (t) => {
  const { socket } = await ownParsec(t, ['MbedCrypto']);
  await t.rejects(clientOf(socket, uid + 1).makeKey('mbed-crypto', 'ours', noAbort), {
    code: 'refused',
    message: /it does not take us for who we are \(status 11\)$/,
  });
});

t.test('a provider that the service has not', async (t) => {
  const { socket } = await ownParsec(t, ['MbedCrypto']);
  await t.rejects(clientOf(socket).makeKey('tpm', 'ours', noAbort), {
    code: 'unavailable',
    message: 'parsec: make the key ours of provider tpm: it has no such provider (status 5)',
  });
});
