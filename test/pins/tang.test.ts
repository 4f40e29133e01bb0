import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Secret } from '../../src/base/secret.ts';
import { parseCompact } from '../../src/jwe/compact.ts';
import type { OpenContext, SealContext } from '../../src/pins/pin.ts';
import { tang } from '../../src/pins/tang.ts';
import { openContext, sealContext } from '../support/contexts.ts';
import { serveHttp } from '../support/servers.ts';
import { addTangKey, startTang, thumbprintOf } from '../support/tang.ts';

const never = new AbortController().signal;

function parse(jwe: string) {
  const sealed = tang.parse(parseCompact(jwe), () => {
    throw new Error('tang nests nothing');
  });
  if (sealed === null) throw new Error('not sealed by tang');
  return sealed;
}

async function open(jwe: string, overrides: Partial<OpenContext> = {}): Promise<Buffer> {
  return (await parse(jwe).open(openContext(overrides), never)).reveal();
}

function seal(config: unknown, plaintext: Buffer, overrides: Partial<SealContext> = {}): Promise<string> {
  return tang.seal(config, new Secret(Buffer.from(plaintext)), sealContext(overrides));
}

/** Not the synchronous kind: some of the servers that it talks to live in this process. */
function run(tool: string, args: readonly string[], input: string | Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = execFile(tool, args, { encoding: 'buffer' }, (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    );
    child.stdin?.end(input);
  });
}

async function clevisEncrypt(config: unknown, plaintext: Buffer, script = '/usr/bin/clevis-encrypt-tang') {
  return (await run('bash', [script, JSON.stringify(config), '-y'], plaintext)).toString();
}

function clevisDecrypt(jwe: string): Promise<Buffer> {
  return run('clevis', ['decrypt'], jwe);
}

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'tang-pin-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

async function advertisement(url: string): Promise<string> {
  return await (await fetch(`${url}/adv`)).text();
}

for (const curve of ['P-521', 'P-256'] as const) {
  t.test(`${curve}: opens what Clevis has sealed`, async (t) => {
    const server = await startTang(t, curve);
    for (let round = 0; round < 12; round++) {
      const secret = randomBytes(round * 7);
      const jwe = await clevisEncrypt({ url: server.url }, secret);
      t.ok((await open(jwe)).equals(secret), `round ${round}, ${secret.length} bytes`);
    }
  });

  t.test(`${curve}: Clevis opens what we have sealed`, async (t) => {
    const server = await startTang(t, curve);
    for (const length of [0, 1, 32, 4096]) {
      const secret = randomBytes(length);
      const jwe = await seal({ url: server.url, thp: server.thp }, secret);
      t.ok((await clevisDecrypt(jwe)).equals(secret), `${length} bytes`);
      t.ok((await open(jwe)).equals(secret), 'and so do we');
    }
  });
}

t.test('every documented option, both ways', async (t) => {
  const server = await startTang(t);
  const { url } = server;
  const adv = await advertisement(url);
  const file = join(folder(t), 'adv.jws');
  writeFileSync(file, adv);
  const configs: Record<string, unknown>[] = [
    { url, thp: server.thp },
    { url, thp: thumbprintOf(server.database, 'S1') },
    { url, adv: file },
    { url, adv: JSON.parse(adv) },
    { url, adv: file, thp: server.thp },
    { url: `${url}/`, thp: server.thp },
    { url: url.replace('http://', ''), thp: server.thp },
    { url: url.replace('http://', 'HTTP://'), thp: server.thp },
  ];
  for (const config of configs) {
    const name = JSON.stringify(config).slice(0, 80);
    t.equal((await clevisDecrypt(await seal(config, Buffer.from('ours')))).toString(), 'ours', name);
    t.equal((await open(await clevisEncrypt(config, Buffer.from('theirs')))).toString(), 'theirs', name);
  }
});

t.test('the header is as Clevis writes it', async (t) => {
  const server = await startTang(t);
  const config = { url: `${server.url}/`, thp: server.thp };
  const [ours, theirs] = [
    await seal(config, Buffer.from('x')),
    await clevisEncrypt(config, Buffer.from('x')),
  ].map((jwe) => parseCompact(jwe).header);
  t.same({ ...ours, epk: undefined }, { ...theirs, epk: undefined });
  t.same(Object.keys(ours?.epk ?? {}).sort(), Object.keys(theirs?.epk ?? {}).sort());
});

t.test('a key that Clevis before 17 named by SHA-1', async (t) => {
  const server = await startTang(t);
  const script = join(folder(t), 'clevis-encrypt-tang');
  const source = readFileSync('/usr/bin/clevis-encrypt-tang', 'utf8');
  writeFileSync(script, source.replace('DEFAULT_THP_ALG=S256', 'DEFAULT_THP_ALG=S1'));
  const jwe = await clevisEncrypt({ url: server.url }, Buffer.from('old'), script);
  t.equal(String(parseCompact(jwe).header.kid).length, 27);
  t.equal((await open(jwe)).toString(), 'old');
});

t.test('a base URL with a path, behind a proxy', async (t) => {
  const server = await startTang(t);
  const proxy = await serveHttp(t, async (request, response) => {
    const path = (request.url ?? '').replace(/^\/a\/b\//, '/');
    const body = request.method === 'POST' ? Buffer.concat(await request.toArray()) : null;
    const forwarded = await fetch(server.url + path, { method: request.method ?? 'GET', body });
    const answer = Buffer.from(await forwarded.arrayBuffer());
    response.writeHead(forwarded.status, { 'content-length': answer.length }).end(answer);
  });
  const url = `http://127.0.0.1:${proxy.port}/a/b`;
  t.equal((await open(await clevisEncrypt({ url }, Buffer.from('theirs')))).toString(), 'theirs');
  const jwe = await seal({ url, thp: server.thp }, Buffer.from('ours'));
  t.equal((await clevisDecrypt(jwe)).toString(), 'ours');
  t.equal((await open(jwe)).toString(), 'ours');
});

t.test('names itself', async (t) => {
  const server = await startTang(t);
  const jwe = await seal({ url: `${server.url}/`, thp: server.thp }, Buffer.from('x'));
  const sealed = parse(jwe);
  t.equal(sealed.title, `tang ${server.url}`);
  t.same(sealed.uses, [{ pin: 'tang', url: server.url }]);
  const titles: string[] = [];
  await open(jwe, {
    attempt: (title, signal, once) => {
      titles.push(title);
      return once(signal);
    },
  });
  t.same(titles, [`tang ${server.url}`]);
});

t.test('a rotated key still opens, a deleted one is asked for again', async (t) => {
  const server = await startTang(t, 'P-256');
  const jwe = await clevisEncrypt({ url: server.url }, Buffer.from('x'));
  renameSync(join(server.database, 'exchange.jwk'), join(server.database, '.exchange.jwk'));
  addTangKey(server.database, 'new', { alg: 'ECMR', crv: 'P-256' });
  t.equal((await open(jwe)).toString(), 'x');
  rmSync(join(server.database, '.exchange.jwk'));
  await t.rejects(open(jwe), {
    code: 'unavailable',
    message: /^tang http:\/\/127\.0\.0\.1:\d+\/rec\/[\w-]{43}: answered 404$/,
    hint: /rotated/,
  });
});

t.test('a server that is gone, and comes back', async (t) => {
  const server = await startTang(t);
  const jwe = await seal({ url: server.url, thp: server.thp }, Buffer.from('x'));
  await server.stop();
  await t.rejects(open(jwe), {
    code: 'unavailable',
    message: /^tang http:\/\/127\.0\.0\.1:\d+\/rec\/[\w-]{43}: connection refused$/,
  });
  await server.start();
  t.equal((await open(jwe)).toString(), 'x');
});

t.test('whoever stops is told so', async (t) => {
  const server = await startTang(t);
  const jwe = await seal({ url: server.url, thp: server.thp }, Buffer.from('x'));
  await t.rejects(parse(jwe).open(openContext(), AbortSignal.abort()), { code: 'stopped' });
});

t.test('no answer from the network says that the sealed key is broken', async (t) => {
  const server = await startTang(t);
  let status = 200;
  let body: string | Buffer = '';
  const impostor = await serveHttp(t, (_request, response) => {
    response.writeHead(status, { 'content-length': Buffer.byteLength(body), location: '/other' }).end(body);
  });
  const url = `http://127.0.0.1:${impostor.port}`;
  const jwe = await clevisEncrypt(
    { url, adv: JSON.parse(await advertisement(server.url)) },
    Buffer.from('x'),
  );
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
  const jwe = await seal({ url, adv: JSON.parse(await advertisement(server.url)) }, Buffer.from('x'));
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
  const jwe = await seal({ url: server.url, thp: server.thp }, Buffer.from('x'));
  const { header } = parseCompact(jwe);
  const [, ...rest] = jwe.split('.');
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
    const text = [Buffer.from(JSON.stringify(changed)).toString('base64url'), ...rest].join('.');
    t.throws(() => parse(text), { code: 'damaged', message }, name);
  }
  const other = [
    Buffer.from(JSON.stringify({ ...header, clevis: { pin: 'sss' } })).toString('base64url'),
    ...rest,
  ];
  t.equal(
    tang.parse(parseCompact(other.join('.')), () => parse(jwe)),
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

t.test('URLs that go nowhere good are refused, at sealing and in a header', async (t) => {
  const server = await startTang(t);
  const jwe = await seal({ url: server.url, thp: server.thp }, Buffer.from('x'));
  const { header } = parseCompact(jwe);
  const { adv } = (header.clevis as { tang: { adv: unknown } }).tang;
  const [, ...rest] = jwe.split('.');
  const urls = [
    undefined,
    7,
    '',
    'http://',
    'ftp://127.0.0.1',
    'file:///etc/passwd',
    'javascript:alert(1)',
    'http://user:secret@127.0.0.1',
    'http://user@127.0.0.1',
    'user@127.0.0.1',
    'http://127.0.0.1/?q',
    'http://127.0.0.1/#f',
    'http://127.0.0.1:99999',
    'http://127.0.0.1/a b',
    ' http://127.0.0.1',
    'http://127.0.0.1\n',
    'http:\\\\127.0.0.1',
    'http://127.0.0.1\\@other',
    'http://tängelö.example',
    `http://127.0.0.1/${'a'.repeat(1024)}`,
  ];
  for (const url of urls) {
    const name = String(url).slice(0, 40);
    const changed = { ...header, clevis: { pin: 'tang', tang: { adv, url } } };
    const text = [Buffer.from(JSON.stringify(changed)).toString('base64url'), ...rest].join('.');
    t.throws(
      () => parse(text),
      { code: 'damaged', message: /clevis\.tang\.url: expected an http or https URL/ },
      name,
    );
    await t.rejects(
      seal({ url, thp: server.thp }, Buffer.from('x')),
      { code: 'bad-config', message: /^tang configuration: url: expected / },
      name,
    );
  }
});

t.test('sealing asks whom to trust, when nothing tells', async (t) => {
  const server = await startTang(t);
  const asked: unknown[] = [];
  const jwe = await seal({ url: server.url }, Buffer.from('x'), {
    confirm: async (lines, question) => void asked.push([...lines, question]),
  });
  t.same(asked, [[`tang ${server.url} signs with these keys:`, server.thp, 'Trust them?']]);
  t.equal((await open(jwe)).toString(), 'x');
  const no = new Error('the answer was no');
  await t.rejects(seal({ url: server.url }, Buffer.from('x'), { confirm: () => Promise.reject(no) }), no);
});

t.test('sealing trusts nobody else', async (t) => {
  const server = await startTang(t);
  const other = await startTang(t);
  const adv = JSON.parse(await advertisement(server.url));
  await t.rejects(seal({ url: server.url, thp: other.thp }, Buffer.from('x')), {
    code: 'unavailable',
    message: `tang ${server.url}/adv/${other.thp}: answered 404`,
  });
  await t.rejects(seal({ url: server.url, thp: other.thp, adv }, Buffer.from('x')), {
    code: 'refused',
    message: `tang ${server.url}: expected to be signed by key ${other.thp}, got other keys`,
  });
  // One who answers with his own keys, whatever was asked for.
  const impostor = await serveHttp(t, async (_request, response) => {
    const body = await advertisement(other.url);
    response.writeHead(200, { 'content-length': Buffer.byteLength(body) }).end(body);
  });
  const url = `http://127.0.0.1:${impostor.port}`;
  await t.rejects(seal({ url, thp: server.thp }, Buffer.from('x')), { code: 'refused' });
  // The exchange key's own thumbprint is no sign of trust: nothing was signed with it.
  const kid = String(parseCompact(await seal({ url: server.url, adv }, Buffer.from('x'))).header.kid);
  await t.rejects(seal({ url: server.url, thp: kid, adv }, Buffer.from('x')), { code: 'refused' });
});

t.test('an advertisement with a wrong signature', async (t) => {
  const server = await startTang(t);
  const good = JSON.parse(await advertisement(server.url));
  const forged = { ...good, signature: `${good.signature.slice(0, -8)}AAAAAAAA` };
  const clevis = run('clevis', ['encrypt', 'tang', JSON.stringify({ url: server.url, adv: forged })], 'x');
  await t.rejects(clevis, { code: 1 }, 'Clevis refuses it too');
  const body = JSON.stringify(forged);
  const forger = await serveHttp(t, (_request, response) => {
    response.writeHead(200, { 'content-length': body.length }).end(body);
  });
  const url = `http://127.0.0.1:${forger.port}`;
  await t.rejects(seal({ url, thp: server.thp }, Buffer.from('x')), {
    code: 'unavailable',
    message:
      /\/adv\/[\w-]{43}: advertisement: expected a signature of key [\w-]{43}, got none that verifies$/,
  });
  await t.rejects(seal({ url: server.url, adv: forged }, Buffer.from('x')), {
    code: 'bad-config',
    message: /^tang configuration, adv: expected a signature of key /,
  });
});

t.test('a configuration that is wrong says what is', async (t) => {
  const file = join(folder(t), 'adv.jws');
  writeFileSync(file, 'no JSON');
  const url = 'http://127.0.0.1:1';
  const cases: [unknown, RegExp][] = [
    [null, /^tang configuration: expected an object, got null$/],
    ['x', /expected an object/],
    [[], /expected an object/],
    [{ url, pcr_ids: '7' }, /^tang configuration: expected url, thp or adv, got "pcr_ids"$/],
    [{ url, thp: 'short' }, /^tang configuration: thp: expected a thumbprint/],
    [{ url, thp: '../../rec/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' }, /thp: expected a thumbprint/],
    [{ url, adv: 7 }, /^tang configuration: adv: expected a file's name or a JWS as JSON object, got 7$/],
    [{ url, adv: {} }, /^tang configuration, adv: expected a JWS as JSON with a payload$/],
    [{ url, adv: file }, /^tang advertisement .*adv\.jws: expected JSON$/],
    [{ url, adv: `${file}.absent` }, /^tang advertisement .*adv\.jws\.absent: no such file$/],
  ];
  for (const [config, message] of cases) {
    await t.rejects(seal(config, Buffer.from('x')), { code: 'bad-config', message }, JSON.stringify(config));
  }
});

t.test("the secret stays the caller's, and the sealed key does not show it", async (t) => {
  const server = await startTang(t);
  const secret = Buffer.from('a very secret passphrase');
  const jwe = await seal({ url: server.url, thp: server.thp }, secret);
  t.notOk(jwe.includes(secret.toString('base64url').slice(0, 20)));
  const own = new Secret(Buffer.from(secret));
  await tang.seal({ url: server.url, thp: server.thp }, own, sealContext());
  t.ok(own.reveal().equals(secret), 'sealing does not wipe it');
});
