import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { AppError } from '../../src/base/errors.ts';
import { generateEphemeral } from '../../src/exchange/agreement.ts';
import { answerTo, type ExchangeKey, generateExchangeKey } from '../../src/exchange/answer.ts';
import { curves, negative } from '../../src/exchange/curve.ts';
import { parseEcKey, toJwk } from '../../src/exchange/jwk.ts';
import { startRecovery } from '../../src/exchange/recovery.ts';

const jose = (args: readonly string[], input = ''): Record<string, string> =>
  JSON.parse(execFileSync('jose', args, { input, encoding: 'utf8' }));

/** The private JWK that José understands, from the first half of the secret. */
function privateJwk(key: ExchangeKey): Record<string, string> {
  const bytes = key.secret.reveal();
  const half = bytes.subarray(0, bytes.length / 2);
  const own = createPrivateKey({ key: half, format: 'der', type: 'pkcs8' });
  return { alg: 'ECMR', ...(own.export({ format: 'jwk' }) as Record<string, string>) };
}

for (const curve of Object.values(curves)) {
  t.test(`${curve.name}: answers what José answers, the sign included`, async (t) => {
    for (let round = 0; round < 12; round++) {
      const key = generateExchangeKey(curve);
      const own = privateJwk(key);
      t.match(own, toJwk(key.point), 'the point belongs to the secret');
      const { point: blinded } = generateEphemeral(curve);
      const expected = jose(
        ['jwk', 'exc', '-i', '{"alg":"ECMR"}', '-l-', '-r-'],
        JSON.stringify(own) + JSON.stringify({ alg: 'ECMR', ...toJwk(blinded) }),
      );
      const answer = await answerTo(key.secret, blinded);
      t.strictSame(
        toJwk(answer),
        toJwk(parseEcKey(expected, (reason) => new AppError('bug', reason))),
        `round ${round}`,
      );
    }
  });

  t.test(`${curve.name}: property: the client gets back what it agreed on`, async (t) => {
    const key = generateExchangeKey(curve);
    await fc.assert(
      fc.asyncProperty(fc.boolean(), async (mirrored) => {
        const client = generateEphemeral(curve);
        using agreed = await client.agree(key.point);
        // −C has the same x coordinate, and so the same agreement.
        const recovery = startRecovery(mirrored ? negative(client.point) : client.point, key.point);
        const candidates = await recovery.unblind(await answerTo(key.secret, recovery.blinded));
        t.ok(candidates.some((candidate) => candidate.reveal().equals(agreed.reveal())));
      }),
      { numRuns: 20 },
    );
  });

  t.test(`${curve.name}: the secret is not printed, and its halves are of one length`, async (t) => {
    const { secret } = generateExchangeKey(curve);
    t.equal(JSON.stringify({ secret }), '{"secret":"[secret]"}');
    const lengths = new Set(Array.from({ length: 8 }, () => generateExchangeKey(curve).secret.length));
    t.strictSame([...lengths], [secret.length]);
    t.equal(secret.length % 2, 0);
  });
}
