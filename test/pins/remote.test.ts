import { createHash } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { AppError } from '../../src/base/errors.ts';
import { Secret } from '../../src/base/secret.ts';
import { answerTo, generateExchangeKey } from '../../src/exchange/answer.ts';
import { curves } from '../../src/exchange/curve.ts';
import { parseEcKey, thumbprint, toJwk } from '../../src/exchange/jwk.ts';
import type { KeyServer, KeyServers } from '../../src/pins/pin.ts';
import { aliveProof } from '../../src/pins/remote.ts';
import { parseSealedKey, seal } from '../../src/pins/table.ts';
import { openContext, sealContext } from '../support/contexts.ts';

const SECRET = Buffer.from('a secret');
const PIN = createHash('sha256').update('a server').digest();
const wrong = (reason: string) => new AppError('bug', reason);
const never = new AbortController().signal;

/** A server in this process, which does the exchange; the network has tests of its own. */
function server(crv: 'P-256' | 'P-521' = 'P-256') {
  const { point, secret } = generateExchangeKey(curves[crv]);
  const kid = thumbprint(toJwk(point), 'S256');
  const registered: string[] = [];
  const home: KeyServer = {
    name: 'home',
    pinSha256: PIN,
    names: [PIN],
    async createKey(_crv, alive) {
      registered.push(alive);
      return { kid, key: toJwk(point) };
    },
    recover: async (_kid, blinded) => toJwk(await answerTo(secret, parseEcKey(blinded, wrong))),
    deleteKey: async () => {},
  };
  return { home, registered, kid };
}

const only = (home: KeyServer): KeyServers => ({
  byName: (name) => (name === home.name ? home : null),
  byPin: (pin) => (home.pinSha256.equals(pin) ? home : null),
});

const sealed = (home: KeyServer, pin = 'remote', config: object = { server: 'home' }) =>
  seal(pin, config, new Secret(Buffer.from(SECRET)), sealContext({ servers: only(home) }));

t.test(
  'sealed and opened; the server has the hash of a proof that only the whole secret gives',
  async (t) => {
    const { home, registered, kid } = server();
    const text = await sealed(home);
    const key = parseSealedKey(text);
    t.match(key, { pin: 'remote', uses: [{ pin: 'remote', server: PIN, kid }] });
    using secret = await key.open(openContext({ servers: only(home) }), never);
    t.same(secret.reveal(), SECRET);
    const hashOf = (whole: Secret) => createHash('sha256').update(aliveProof(whole, PIN)).digest('base64url');
    t.same(registered, [hashOf(secret)]);
    await sealed(home, 'sss', { t: 1, pins: { remote: { server: 'home' } } });
    t.same(registered, [hashOf(secret), hashOf(secret)], 'of the whole, not of a share');
  },
);

t.test('what the header may not be', async (t) => {
  const { home } = server();
  const [head = '', ...rest] = (await sealed(home)).split('.');
  const header = JSON.parse(Buffer.from(head, 'base64url').toString());
  const other = toJwk(generateExchangeKey(curves['P-521']).point);
  const { remote } = header.clevis;
  const broken: [title: string, header: object, message: RegExp][] = [
    [
      'no server',
      { clevis: { pin: 'remote', remote: { key: remote.key } } },
      /clevis\.remote\.server: expected sha256/,
    ],
    [
      'a URL for a server',
      { clevis: { pin: 'remote', remote: { ...remote, server: 'https://evil' } } },
      /remote\.server/,
    ],
    [
      'no key',
      { clevis: { pin: 'remote', remote: { server: remote.server } } },
      /clevis\.remote\.key: expected a key/,
    ],
    [
      'another key',
      { clevis: { pin: 'remote', remote: { ...remote, key: other } } },
      /field kid: expected that of/,
    ],
    ['another kid', { kid: 'A'.repeat(43) }, /field kid/],
    ['epk of another curve', { epk: other }, /field epk: expected crv "P-256"/],
    ['alg dir', { alg: 'dir' }, /field alg: expected "ECDH-ES"/],
  ];
  for (const [title, change, message] of broken) {
    const text = [Buffer.from(JSON.stringify({ ...header, ...change })).toString('base64url'), ...rest].join(
      '.',
    );
    t.throws(() => parseSealedKey(text), { code: 'damaged', message }, title);
  }
});

t.test('property: one bit flipped anywhere never opens to something else', async (t) => {
  const { home } = server();
  const text = Buffer.from(await sealed(home));
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: text.length - 1 }), fc.nat({ max: 6 }), async (at, bit) => {
      const changed = Buffer.from(text);
      changed.writeUInt8(changed.readUInt8(at) ^ (1 << bit), at);
      try {
        const key = parseSealedKey(changed.toString('latin1'));
        await key.open(openContext({ servers: only(home) }), never);
      } catch (thrown) {
        if (thrown instanceof AppError && ['damaged', 'bad-config', 'unavailable'].includes(thrown.code))
          return;
        throw thrown;
      }
      throw new Error('it opened');
    }),
    { numRuns: 60 },
  );
  t.pass();
});

t.test('servers that are not known, or do not answer right', async (t) => {
  const { home } = server();
  const text = await sealed(home);
  const open = (servers: KeyServers) => parseSealedKey(text).open(openContext({ servers }), never);
  const none = { byName: () => null, byPin: () => null };
  await t.rejects(open(none), {
    code: 'bad-config',
    message: /no server in config\.yaml has the key sha256\//,
  });
  const other = server('P-521').home;
  await t.rejects(open(only({ ...other, recover: async () => ({ kty: 'EC' }) })), {
    code: 'unavailable',
    message: /answer: /,
  });
  await t.rejects(open(only(server().home)), { code: 'damaged', message: /does not open it/ });
  for (const [config, message] of [
    [{}, /pin remote: server: expected a server's name/],
    [{ server: 'home', crv: 'P-384' }, /pin remote: crv: expected P-256 or P-521/],
    [{ server: 'home', url: 'x' }, /pin remote: configuration: expected only server and crv/],
    [{ server: 'away' }, /pin remote: no server "away" in config\.yaml/],
  ] as const) {
    await t.rejects(sealed(home, 'remote', config), { code: 'bad-config', message });
  }
  const liar = {
    ...home,
    createKey: async () => ({ kid: 'A'.repeat(43), key: toJwk(generateExchangeKey(curves['P-256']).point) }),
  };
  await t.rejects(sealed(liar), { code: 'unavailable', message: /not the one that it names/ });
});
