import { execFileSync } from 'node:child_process';
import t from 'tap';
import { parseCompact } from '../../src/jwe/compact.ts';
import { tang } from '../../src/pins/tang.ts';
import { serveHttp } from '../support/servers.ts';
import { startTang } from '../support/tang.ts';
import { advertisement, clevisSeal, open, parse, seal, withHeader } from '../support/tang-pin.ts';

t.test('no answer from the network says that the sealed key is broken', async (t) => {
  const server = await startTang(t);
  let status = 200;
  let body: string | Buffer = '';
  const impostor = await serveHttp(t, (_request, response) => {
    response.writeHead(status, { 'content-length': Buffer.byteLength(body), location: '/other' }).end(body);
  });
  const url = `http://127.0.0.1:${impostor.port}`;
  const jwe = await clevisSeal({ url, adv: JSON.parse(await advertisement(server.url)) }, Buffer.from('x'));
  const kid = String(parseCompact(jwe).header.kid);
  const generated = (crv: string) =>
    JSON.parse(
      execFileSync('jose', ['jwk', 'gen', '-i', `{"alg":"ECMR","crv":"${crv}"}`], { encoding: 'utf8' }),
    );
  const { d, ...point } = generated('P-521');
  const zero = 'A'.repeat(88);
  const cases: [string, number, unknown, string][] = [
    ['not found', 404, '', 'answered 404'],
    ['server error', 500, '', 'answered 500'],
    ['a refusal', 403, '', 'answered 403'],
    ['redirect', 301, '', 'answered 301: redirects are not followed'],
    ['no content', 204, '', 'answered 204'],
    ['nothing', 200, '', 'answer: expected JSON'],
    ['rubbish', 200, '<html>', 'answer: expected JSON'],
    ['other JSON', 200, [], 'answer: expected a key with kty "EC"'],
    ['another point', 200, point, 'the answer does not open the sealed key'],
    [
      'the same point as always',
      200,
      parseCompact(jwe).header.epk,
      'the answer does not open the sealed key',
    ],
    ['another curve', 200, generated('P-256'), 'answer: expected crv "P-521", got "P-256"'],
    [
      'off the curve',
      200,
      { ...point, y: point.x },
      'answer: expected a point on P-521, got one that is not',
    ],
    [
      'infinity as zeros',
      200,
      { ...point, x: zero, y: zero },
      'answer: expected a point on P-521, got one that is not',
    ],
    [
      'infinity as nothing',
      200,
      { kty: 'EC', crv: 'P-521' },
      'answer: expected x to be 66 bytes in base64url',
    ],
    ['ten megabytes', 200, Buffer.alloc(10 * 1024 * 1024), 'answered more than 65536 bytes'],
  ];
  for (const [name, code, answer, reason] of cases) {
    status = code;
    body = typeof answer === 'string' || Buffer.isBuffer(answer) ? answer : JSON.stringify(answer);
    const fault = await open(jwe).catch((thrown) => thrown);
    t.equal(fault.code, 'unavailable', name);
    t.equal(fault.message, `tang ${url}/rec/${kid}: ${reason}`, name);
  }
});

t.test('what the server sees is none of what the header shows', async (t) => {
  const server = await startTang(t);
  const seen: Record<string, unknown>[] = [];
  const listener = await serveHttp(t, async (request, response) => {
    seen.push(JSON.parse(Buffer.concat(await request.toArray()).toString()));
    t.equal(request.headers['content-type'], 'application/jwk+json');
    response.writeHead(500, { 'content-length': 0 }).end();
  });
  const url = `http://127.0.0.1:${listener.port}`;
  const jwe = await seal({ url, adv: JSON.parse(await advertisement(server.url)) }, 'x');
  for (let round = 0; round < 2; round++) await t.rejects(open(jwe), { code: 'unavailable' });
  const [one, other] = seen;
  t.same(Object.keys(one ?? {}).sort(), ['alg', 'crv', 'kty', 'x', 'y']);
  t.not(one?.x, other?.x);
  t.notOk(
    Buffer.from(jwe.split('.')[0] ?? '', 'base64url')
      .toString()
      .includes(String(one?.x)),
  );
});

t.test('a damaged header is seen before anything is asked', async (t) => {
  const server = await startTang(t);
  const jwe = await seal({ url: server.url, thp: server.thp }, 'x');
  const { header } = parseCompact(jwe);
  const { url } = server;
  const { adv } = (header.clevis as { tang: { adv: { keys: Record<string, string>[] } } }).tang;
  const epk = header.epk as Record<string, string>;
  const own = (tangPart: unknown) => ({ ...header, clevis: { pin: 'tang', tang: tangPart } });
  const brokenKeys = adv.keys.map((key) => ({ ...key, y: key.x }));
  const small = { kty: 'EC', crv: 'P-256', ...p256 };
  const cases: [string, Record<string, unknown>, RegExp][] = [
    ['alg', { ...header, alg: 'dir' }, /field alg: expected "ECDH-ES"/],
    ['no clevis.tang', { ...header, clevis: { pin: 'tang' } }, /field clevis\.tang: expected an object/],
    ['no url', own({ adv }), /field clevis\.tang\.url: expected an http or https URL, got nothing$/],
    ['no adv', own({ url }), /field clevis\.tang\.adv: expected a JWK set$/],
    ['adv is no set', own({ url, adv: { keys: 'x' } }), /field clevis\.tang\.adv: expected a JWK set$/],
    ['empty adv', own({ url, adv: { keys: [] } }), /adv: expected key [\w-]{43}, got none such$/],
    ['adv of nonsense', own({ url, adv: { keys: [null, 7, 'x', {}] } }), /got none such$/],
    ['changed keys', own({ url, adv: { keys: brokenKeys } }), /got none such$/],
    ['no kid', { ...header, kid: undefined }, /field kid: expected a key's thumbprint, got nothing$/],
    ['kid of another key', { ...header, kid: 'A'.repeat(43) }, /expected key A{43}, got none such$/],
    ['kid that climbs', { ...header, kid: '../../../adv' }, /field kid: expected a key's thumbprint, got "/],
    ['kid is a number', { ...header, kid: 7 }, /field kid/],
    ['no epk', { ...header, epk: undefined }, /field epk: expected a key with kty "EC"$/],
    ['epk off the curve', { ...header, epk: { ...epk, y: epk.x } }, /field epk: expected a point on P-521/],
    ['epk without y', { ...header, epk: { ...epk, y: undefined } }, /field epk: expected y to be 66 bytes/],
    [
      'epk of another curve',
      { ...header, epk: small },
      /field epk: expected crv "P-521" as key [\w-]{43}, got "P-256"$/,
    ],
  ];
  for (const [name, changed, message] of cases) {
    t.throws(() => parse(withHeader(jwe, changed)), { code: 'damaged', message }, name);
  }
  const other = withHeader(jwe, { ...header, clevis: { pin: 'sss' } });
  t.equal(
    tang.parse(parseCompact(other), () => parse(jwe)),
    null,
    "another pin's key is not ours",
  );
});

/** The base point of P-256, as good a point as any. */
const p256 = {
  x: Buffer.from('6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296', 'hex').toString(
    'base64url',
  ),
  y: Buffer.from('4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5', 'hex').toString(
    'base64url',
  ),
};
