import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import { AppError } from '../../src/base/errors.ts';
import { signAdvertisement } from '../../src/exchange/advertise.ts';
import { readAdvertisement } from '../../src/exchange/advertisement.ts';
import { generateExchangeKey } from '../../src/exchange/answer.ts';
import { curves } from '../../src/exchange/curve.ts';
import { parseEcKey, toJwk } from '../../src/exchange/jwk.ts';

const wrong = (reason: string) => new AppError('bug', reason);

for (const curve of Object.values(curves)) {
  t.test(`${curve.name}: José verifies it, and we read it back`, async (t) => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: curve.name });
    const signer = parseEcKey(publicKey.export({ format: 'jwk' }), wrong);
    const { point } = generateExchangeKey(curve);
    const jws = signAdvertisement(privateKey, signer, point);

    const read = readAdvertisement(jws, wrong);
    t.strictSame(read.signingKeys.map(toJwk), [toJwk(signer)]);
    t.strictSame(read.exchangeKeys.map(toJwk), [toJwk(point)]);

    const verifiedBy = (key: object) =>
      execFileSync(
        'jose',
        ['jws', 'ver', '-i', '-', '-k', `${t.testdir({ key: JSON.stringify(key) })}/key`, '-O', '-'],
        {
          input: JSON.stringify(jws),
          encoding: 'utf8',
          stdio: ['pipe', 'pipe', 'ignore'],
        },
      );
    t.match(JSON.parse(verifiedBy(toJwk(signer))), {
      keys: [{ key_ops: ['verify'] }, { alg: 'ECMR', key_ops: ['deriveKey'] }],
    });
    const other = toJwk(generateExchangeKey(curve).point);
    t.throws(() => verifiedBy(other), 'another key does not');
  });
}
