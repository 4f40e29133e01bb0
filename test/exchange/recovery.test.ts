import { execFileSync } from 'node:child_process';
import t from 'tap';
import { AppError } from '../../src/base/errors.ts';
import type { EcPoint } from '../../src/exchange/curve.ts';
import { parseEcKey, toJwk } from '../../src/exchange/jwk.ts';
import { startRecovery } from '../../src/exchange/recovery.ts';

type Jwk = Record<string, string>;

function jose(args: readonly string[], input = ''): Jwk {
  return JSON.parse(execFileSync('jose', args, { input, encoding: 'utf8' }));
}

/** José's own ECMR: local private times remote where the local key is private, else local minus remote. */
function exchanged(local: Jwk, remote: Jwk): Jwk {
  const { d, key_ops, ...open } = remote;
  return jose(
    ['jwk', 'exc', '-i', '{"alg":"ECMR"}', '-l-', '-r-'],
    JSON.stringify(local) + JSON.stringify(open),
  );
}

function point(jwk: Jwk): EcPoint {
  return parseEcKey(jwk, (reason) => new AppError('bug', reason));
}

function jwk(of: EcPoint): Jwk {
  return { alg: 'ECMR', ...toJwk(of) };
}

for (const crv of ['P-256', 'P-521']) {
  t.test(`${crv}: gets back what José's exchange had agreed on`, async (t) => {
    for (let round = 0; round < 8; round++) {
      const [server, client] = [0, 1].map(() =>
        jose(['jwk', 'gen', '-i', JSON.stringify({ alg: 'ECMR', crv })]),
      );
      if (server === undefined || client === undefined) throw new Error('jose made no keys');
      const agreed = exchanged(client, server);
      const recovery = startRecovery(point(client), point(server));
      const answer = exchanged(server, jwk(recovery.blinded));
      const candidates = await recovery.unblind(point(answer));
      t.equal(candidates.length, 2);
      const found = candidates.map((candidate) => candidate.reveal().toString('base64url'));
      t.ok(found.includes(agreed.x ?? ''), `round ${round}`);
      t.not(found[0], found[1]);
    }
  });

  t.test(`${crv}: the server sees a fresh point each time`, async (t) => {
    const [server, client] = [0, 1].map(() =>
      point(jose(['jwk', 'gen', '-i', JSON.stringify({ alg: 'ECMR', crv })])),
    );
    if (server === undefined || client === undefined) throw new Error('jose made no keys');
    const seen = [0, 1, 2].map(() => startRecovery(client, server).blinded.x);
    t.equal(new Set([client.x, server.x, ...seen]).size, 5);
  });

  t.test(`${crv}: an answer that cancels the mask leaves one candidate, not infinity`, async (t) => {
    const server = jose(['jwk', 'gen', '-i', JSON.stringify({ alg: 'ECMR', crv })]);
    const client = point(jose(['jwk', 'gen', '-i', JSON.stringify({ alg: 'ECMR', crv })]));
    // Y = s·X − s·C = e·S: one difference is the point at infinity, the other 2·e·S.
    const { blinded, unblind } = startRecovery(client, point(server));
    const product = exchanged(server, jwk(blinded));
    const masked = exchanged(product, exchanged(server, jwk(client)));
    t.equal((await unblind(point(masked))).length, 1);
  });
}
