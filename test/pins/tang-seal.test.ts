import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Secret } from '../../src/base/secret.ts';
import { parseCompact } from '../../src/jwe/compact.ts';
import { tang } from '../../src/pins/tang.ts';
import { sealContext } from '../support/contexts.ts';
import { serveHttp } from '../support/servers.ts';
import { startTang } from '../support/tang.ts';
import { advertisement, clevisSeal, open, seal } from '../support/tang-pin.ts';

t.test('sealing asks whom to trust, when nothing tells', async (t) => {
  const server = await startTang(t);
  const asked: unknown[] = [];
  const jwe = await seal({ url: server.url }, 'x', {
    confirm: async (lines, question) => void asked.push([...lines, question]),
  });
  t.same(asked, [[`tang ${server.url} signs with these keys:`, server.thp, 'Trust them?']]);
  t.equal((await open(jwe)).toString(), 'x');
  const no = new Error('the answer was no');
  await t.rejects(seal({ url: server.url }, 'x', { confirm: () => Promise.reject(no) }), no);
});

t.test('sealing trusts nobody else', async (t) => {
  const server = await startTang(t);
  const other = await startTang(t);
  const adv = JSON.parse(await advertisement(server.url));
  await t.rejects(seal({ url: server.url, thp: other.thp }, 'x'), {
    code: 'unavailable',
    message: `tang ${server.url}/adv/${other.thp}: answered 404`,
  });
  await t.rejects(seal({ url: server.url, thp: other.thp, adv }, 'x'), {
    code: 'refused',
    message: `tang ${server.url}: expected to be signed by key ${other.thp}, got other keys`,
  });
  // One who answers with his own keys, whatever was asked for.
  const impostor = await serveHttp(t, async (_request, response) => {
    const body = await advertisement(other.url);
    response.writeHead(200, { 'content-length': Buffer.byteLength(body) }).end(body);
  });
  const url = `http://127.0.0.1:${impostor.port}`;
  await t.rejects(seal({ url, thp: server.thp }, 'x'), { code: 'refused' });
  // The exchange key's own thumbprint is no sign of trust: nothing was signed with it.
  const kid = String(parseCompact(await seal({ url: server.url, adv }, 'x')).header.kid);
  await t.rejects(seal({ url: server.url, thp: kid, adv }, 'x'), { code: 'refused' });
});

t.test('an advertisement with a wrong signature', async (t) => {
  const server = await startTang(t);
  const good = JSON.parse(await advertisement(server.url));
  const forged = { ...good, signature: `${good.signature.slice(0, -8)}AAAAAAAA` };
  await t.rejects(clevisSeal({ url: server.url, adv: forged }, 'x'), { code: 1 }, 'Clevis refuses it too');
  const body = JSON.stringify(forged);
  const forger = await serveHttp(t, (_request, response) => {
    response.writeHead(200, { 'content-length': body.length }).end(body);
  });
  const url = `http://127.0.0.1:${forger.port}`;
  await t.rejects(seal({ url, thp: server.thp }, 'x'), {
    code: 'unavailable',
    message:
      /\/adv\/[\w-]{43}: advertisement: expected a signature of key [\w-]{43}, got none that verifies$/,
  });
  await t.rejects(seal({ url: server.url, adv: forged }, 'x'), {
    code: 'bad-config',
    message: /^pin tang: adv: expected a signature of key /,
  });
});

t.test('a configuration that is wrong says what is', async (t) => {
  const file = join(t.testdir(), 'adv.jws');
  writeFileSync(file, 'no JSON');
  const url = 'http://127.0.0.1:1';
  const cases: [unknown, RegExp][] = [
    [null, /^pin tang: expected an object, got null$/],
    ['x', /expected an object/],
    [[], /expected an object/],
    [{ url, pcr_ids: '7' }, /^pin tang: expected url, thp or adv, got "pcr_ids"$/],
    [{ url, thp: 'short' }, /^pin tang: thp: expected a thumbprint/],
    [{ url, thp: '../../rec/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' }, /thp: expected a thumbprint/],
    [{ url, adv: 7 }, /^pin tang: adv: expected a file's name or a JWS as JSON object, got 7$/],
    [{ url, adv: {} }, /^pin tang: adv: expected a JWS as JSON with a payload$/],
    [{ url, adv: file }, /^tang advertisement .*adv\.jws: expected JSON$/],
    [{ url, adv: `${file}.absent` }, /^tang advertisement .*adv\.jws\.absent: no such file$/],
  ];
  for (const [config, message] of cases) {
    await t.rejects(seal(config, 'x'), { code: 'bad-config', message }, JSON.stringify(config));
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
