import t from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { ownParsec } from '../support/parsec.ts';
import { setStage } from '../support/stage.ts';
import { strangeParsec } from '../support/strange-parsec.ts';
import { ownFolder, ownSwtpm } from '../support/tpm.ts';

t.setTimeout(300_000);

const KEY = Buffer.from('a key of this test alone');

t.test('opens by the TPM of a Parsec service, alone and nested; not when its keys are gone', async (t) => {
  const { tcti } = await ownSwtpm(t);
  const service = await ownParsec(t, ['MbedCrypto', { tcti }]);
  const { environment } = service;
  const stage = await setStage(t, { environment });
  const seal = (pin: string, config: string) => fetchLuksKey(['seal', pin, config], KEY, environment);

  // Not the service's favourite, which has its keys on the same disk.
  const { stdout, stderr } = await seal('parsec', '{}');
  t.equal(stderr, '');
  stage.put('data', stdout);
  const line = /^data: key delivered, opened by parsec tpm in \d+ ms$/;
  await stage.shows(t, 'opened', 'data', { status: 0, line, gets: KEY });

  const nested = await seal('sss', '{"t":2,"pins":{"parsec":[{},{"provider":"tpm"}]}}');
  t.equal(nested.stderr, '');
  stage.put('nested', nested.stdout);
  await stage.shows(t, 'nested', 'nested', {
    status: 0,
    line: /^nested: key delivered, opened by parsec tpm in \d+ ms$/,
    gets: KEY,
  });

  stage.configure({ volumes: { data: { 'give-up-after': '1s' }, nested: { allow: ['tpm2'] } } });
  await stage.shows(t, 'not allowed', 'nested', { status: 4, line: /parsec/ });
  await service.stop();
  await stage.shows(t, 'no service', 'data', { status: 5, line: /^data: .*parsec\.sock: nobody listens/ });
  service.forget();
  await service.start();
  await stage.shows(t, 'no key', 'data', {
    status: 6,
    line: /^data: .*decrypt with the key fetch-luks-key of provider tpm: it has no such key of this user \(status 1140\)/,
  });
  t.equal((await seal('parsec', '{}')).status, 0);
  await stage.shows(t, 'another key', 'data', {
    status: 6,
    line: /^data: .*parsec: the key fetch-luks-key of provider tpm is another one now/,
  });
});

t.test('what it does not seal with', async (t) => {
  const { environment } = await ownParsec(t, ['MbedCrypto']);
  const seal = (config: object, where: Record<string, string> = environment) =>
    fetchLuksKey(['seal', 'parsec', JSON.stringify(config)], KEY, where);
  fails(
    t,
    'software',
    await seal({}),
    5,
    /expected a provider that keeps keys in a TPM or HSM, got mbed-crypto/,
  );
  fails(t, 'absent', await seal({ provider: 'tpm' }), 5, /it has no such provider \(status 5\)/);
  fails(
    t,
    'field',
    await seal({ key: 'x' }),
    3,
    /pin parsec: configuration: expected only provider, got "key"/,
  );
  fails(
    t,
    'provider',
    await seal({ provider: 7 }),
    3,
    /pin parsec: provider: expected one of mbed-crypto, pkcs11, tpm/,
  );
  const nowhere = { PARSEC_SERVICE_ENDPOINT: `unix:${ownFolder(t)}/none.sock` };
  fails(t, 'no Parsec', await seal({}, nowhere), 5, /^this machine has no Parsec/);
  const elsewhere = { PARSEC_SERVICE_ENDPOINT: 'tcp:x' };
  fails(
    t,
    'address',
    await seal({}, elsewhere),
    3,
    /^environment variable PARSEC_SERVICE_ENDPOINT: expected unix:\/PATH, got "tcp:x"/,
  );
});

t.test('a service that hangs ends with the patience for the volume, whatever it is sealed to', async (t) => {
  const { environment } = await ownParsec(t, ['MbedCrypto']);
  const { stdout } = await fetchLuksKey(['seal', 'parsec', '{"provider":"mbed-crypto"}'], KEY, environment);
  for (const [title, behave] of [
    ['hangs', () => {}],
    ['dies', (socket: { destroy(): void }) => socket.destroy()],
    ['garbage', (socket: { end(text: string): void }) => socket.end('garbage')],
  ] as const) {
    const path = await strangeParsec(t, behave);
    const stage = await setStage(t, { environment: { PARSEC_SERVICE_ENDPOINT: `unix:${path}` } });
    stage.configure({ volumes: { data: { 'give-up-after': '1s' } } });
    stage.put('data', stdout);
    await stage.shows(t, title, 'data', { status: 5, line: /^data: .*parsec mbed-crypto/ });
  }
});

t.test('damaged headers', async (t) => {
  const { environment } = await ownParsec(t, ['MbedCrypto']);
  const { stdout } = await fetchLuksKey(['seal', 'parsec', '{"provider":"mbed-crypto"}'], KEY, environment);
  const [head = '', ...parts] = stdout.split('.');
  const header = JSON.parse(Buffer.from(head, 'base64url').toString());
  const stage = await setStage(t, { environment });
  const cases: readonly (readonly [string, unknown, RegExp])[] = [
    [
      'provider',
      'soft',
      /header field clevis\.parsec\.provider: expected one of mbed-crypto, pkcs11, tpm, got "soft"/,
    ],
    ['key', '../x y', /header field clevis\.parsec\.key: expected a key's name, got "\.\.\/x y"/],
    ['thumbprint', 'AAAA', /header field clevis\.parsec\.thumbprint: expected base64url of 32 bytes/],
    ['ciphertext', 7, /header field clevis\.parsec\.ciphertext: expected base64url of 256 bytes, got 7/],
  ];
  for (const [field, value, line] of cases) {
    const own = { ...header.clevis.parsec, [field]: value };
    const text = JSON.stringify({ ...header, clevis: { pin: 'parsec', parsec: own } });
    stage.put('data', [Buffer.from(text).toString('base64url'), ...parts].join('.'));
    await stage.shows(t, field, 'data', { status: 6, line });
  }
});
