import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseCompact } from '../../src/jwe/compact.ts';
import { openContext } from '../support/contexts.ts';
import { serveHttp } from '../support/servers.ts';
import { addTangKey, startTang, thumbprintOf } from '../support/tang.ts';
import { advertisement, clevisOpen, clevisSeal, open, parse, seal } from '../support/tang-pin.ts';

for (const curve of ['P-521', 'P-256'] as const) {
  t.test(`${curve}: opens what Clevis has sealed`, async (t) => {
    const server = await startTang(t, curve);
    for (let round = 0; round < 10; round++) {
      const secret = randomBytes(round * 7);
      const jwe = await clevisSeal({ url: server.url }, secret);
      t.ok((await open(jwe)).equals(secret), `round ${round}, ${secret.length} bytes`);
    }
  });

  t.test(`${curve}: Clevis opens what we have sealed`, async (t) => {
    const server = await startTang(t, curve);
    for (const length of [0, 1, 32, 4096]) {
      const secret = randomBytes(length);
      const jwe = await seal({ url: server.url, thp: server.thp }, secret);
      t.ok((await clevisOpen(jwe)).equals(secret), `${length} bytes`);
      t.ok((await open(jwe)).equals(secret), 'and so do we');
    }
  });
}

t.test('every documented option, both ways', async (t) => {
  const server = await startTang(t);
  const { url } = server;
  const adv = await advertisement(url);
  const file = join(t.testdir(), 'adv.jws');
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
    t.equal((await clevisOpen(await seal(config, 'ours'))).toString(), 'ours', name);
    t.equal((await open(await clevisSeal(config, 'theirs'))).toString(), 'theirs', name);
  }
});

t.test('the header is as Clevis writes it', async (t) => {
  const server = await startTang(t);
  const config = { url: `${server.url}/`, thp: server.thp };
  const [ours, theirs] = [await seal(config, 'x'), await clevisSeal(config, 'x')].map(
    (jwe) => parseCompact(jwe).header,
  );
  t.same({ ...ours, epk: undefined }, { ...theirs, epk: undefined });
  t.same(Object.keys(ours?.epk ?? {}).sort(), Object.keys(theirs?.epk ?? {}).sort());
});

t.test('a key that Clevis before 17 named by SHA-1', async (t) => {
  const server = await startTang(t);
  const script = join(t.testdir(), 'clevis-encrypt-tang');
  const source = readFileSync('/usr/bin/clevis-encrypt-tang', 'utf8');
  writeFileSync(script, source.replace('DEFAULT_THP_ALG=S256', 'DEFAULT_THP_ALG=S1'));
  const jwe = await clevisSeal({ url: server.url }, 'old', script);
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
  t.equal((await open(await clevisSeal({ url }, 'theirs'))).toString(), 'theirs');
  const jwe = await seal({ url, thp: server.thp }, 'ours');
  t.equal((await clevisOpen(jwe)).toString(), 'ours');
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
  const jwe = await clevisSeal({ url: server.url }, 'x');
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
  const jwe = await seal({ url: server.url, thp: server.thp }, 'x');
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
  const jwe = await seal({ url: server.url, thp: server.thp }, 'x');
  await t.rejects(parse(jwe).open(openContext(), AbortSignal.abort()), { code: 'stopped' });
});
