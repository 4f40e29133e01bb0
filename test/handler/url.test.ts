import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createHttpsServer, type ServerOptions } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import t, { type Test } from 'tap';
import type { UrlSettings } from '../../src/config/config.ts';
import { parseConfig } from '../../src/config/parse.ts';
import { fetchUrlKey } from '../../src/handler/url.ts';
import { files } from '../../src/os/files.ts';
import { http } from '../../src/os/http.ts';
import { createAuthority, daysFromNow, selfSigned } from '../support/certificates.ts';

const authority = createAuthority('test authority');
const identity = authority.issue({ names: ['127.0.0.1'] });
const machine = authority.issue({ names: ['machine'] });
const KEY = Buffer.from('\0k\xffey\n', 'latin1');

const folder = t.testdir({
  'ca.pem': authority.certificate,
  'machine.pem': machine.certificate,
  'machine.key': machine.key,
});

async function listen(t: Test, server: Server, scheme: string): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise((resolve) => server.close(resolve)));
  return `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function serve(t: Test, listener: RequestListener, options: ServerOptions = {}): Promise<string> {
  const tls = { cert: identity.certificate, key: identity.key, ...options };
  return listen(t, createHttpsServer(tls, listener), 'https');
}

/** What config.yaml would give. @param fields one per line, as in a volume of the file */
function settings(...fields: string[]): UrlSettings {
  const text = `volumes:\n  data:\n${fields.map((field) => `    ${field}\n`).join('')}`;
  const url = parseConfig(text, 'config.yaml').volumes.get('data')?.url;
  if (!url) throw new Error('no url');
  return url;
}

const fetchKey = (of: UrlSettings, signal = new AbortController().signal) =>
  fetchUrlKey(of, { http, files }, signal);
const ca = `ca: ${folder}/ca.pem`;

t.test('the body is the key, byte for byte', async (t) => {
  let request: IncomingMessage | undefined;
  const origin = await serve(t, (got, answer) => {
    request = got;
    answer.end(KEY);
  });
  using key = await fetchKey(settings(`url: ${origin}/keys/data.key?for=me`, ca));
  t.strictSame(key.reveal(), KEY);
  t.equal(request?.method, 'GET');
  t.equal(request?.url, '/keys/data.key?for=me');
  t.equal(request?.headers['accept-encoding'], 'identity');
});

t.test('whom the server must be', async (t) => {
  const origin = await serve(t, (_, answer) => answer.end(KEY));
  await t.rejects(fetchKey(settings(`url: ${origin}/`)), { code: 'unavailable' }, 'not known to the system');
  const pin = `pin: sha256/${identity.pinSha256.toString('base64url')}`;
  using key = await fetchKey(settings(`url: ${origin}/`, pin));
  t.equal(key.length, KEY.length);
  const other = `pin: sha256/${machine.pinSha256.toString('base64url')}`;
  await t.rejects(fetchKey(settings(`url: ${origin}/`, other)), {
    code: 'unavailable',
    message: /not the pinned one/,
  });
});

t.test('a pinned key alone decides, and is what the example’s command prints', async (t) => {
  const expired = selfSigned({ names: ['elsewhere'], from: daysFromNow(-9), until: daysFromNow(-1) });
  const origin = await serve(t, (_, answer) => answer.end(KEY), {
    cert: expired.certificate,
    key: expired.key,
  });
  writeFileSync(`${folder}/server.pem`, expired.certificate);
  const command = `openssl x509 -in ${folder}/server.pem -noout -pubkey | openssl pkey -pubin -outform DER |
    openssl dgst -sha256 -binary | basenc --base64url | tr -d =`;
  const printed = execFileSync('sh', ['-c', command]).toString().trim();
  t.equal(printed, expired.pinSha256.toString('base64url'));
  using key = await fetchKey(settings(`url: ${origin}/`, `pin: sha256/${printed}`));
  t.equal(key.length, KEY.length);
});

t.test('who this machine is', async (t) => {
  const options = { ca: authority.certificate, requestCert: true, rejectUnauthorized: true };
  const origin = await serve(t, (_, answer) => answer.end(KEY), options);
  const own = [`client-certificate: ${folder}/machine.pem`, `client-key: ${folder}/machine.key`];
  using key = await fetchKey(settings(`url: ${origin}/`, ca, ...own));
  t.equal(key.length, KEY.length);
  await t.rejects(fetchKey(settings(`url: ${origin}/`, ca)), { code: 'unavailable' });
});

t.test('files that config.yaml names', async (t) => {
  const absent = ['client-certificate: /absent.pem', `client-key: ${folder}/machine.key`];
  for (const fields of [['ca: /absent.pem'], absent]) {
    await t.rejects(fetchKey(settings('url: https://127.0.0.1:1/', ...fields)), {
      code: 'bad-config',
      message: '/absent.pem: no such file, and config.yaml names it',
    });
  }
  const swapped = [`client-certificate: ${folder}/machine.key`, `client-key: ${folder}/machine.pem`];
  await t.rejects(fetchKey(settings('url: https://127.0.0.1:1/', ...swapped)), { code: 'bad-config' });
});

t.test('the client’s key is wiped, whatever the outcome', async (t) => {
  const seen: Buffer[] = [];
  const remembering = {
    ...files,
    read: async (path: string, maxBytes: number) => {
      const bytes = await files.read(path, maxBytes);
      if (bytes !== null && path.endsWith('.key')) seen.push(bytes);
      return bytes;
    },
  };
  const own = [`client-certificate: ${folder}/machine.pem`, `client-key: ${folder}/machine.key`];
  const origin = await serve(t, (_, answer) => answer.end(KEY));
  const { signal } = new AbortController();
  using _key = await fetchUrlKey(
    settings(`url: ${origin}/`, ca, ...own),
    { http, files: remembering },
    signal,
  );
  await t.rejects(fetchUrlKey(settings(`url: ${origin}/`, ...own), { http, files: remembering }, signal));
  t.equal(seen.length, 2);
  t.ok(seen.every((bytes) => bytes.length > 0 && bytes.every((byte) => byte === 0)));
});

t.test('what the status means', async (t) => {
  let status = 200;
  const origin = await serve(t, (_, answer) => {
    answer.writeHead(status, {
      location: '/other',
      ...(status === 204 ? {} : { 'content-length': KEY.length }),
    });
    answer.end(status === 204 ? undefined : KEY);
  });
  const outcomes: Record<number, [code: string, said: RegExp]> = {
    401: ['refused', /answered 401 \(unauthorized\)$/],
    403: ['refused', /answered 403 \(forbidden\)$/],
    404: ['refused', /answered 404 \(not found\)$/],
    410: ['refused', /answered 410 \(gone\)$/],
    301: ['unavailable', /answered 301, a redirect, which is not followed$/],
    302: ['unavailable', /answered 302, a redirect/],
    307: ['unavailable', /answered 307, a redirect/],
    308: ['unavailable', /answered 308, a redirect/],
    201: ['unavailable', /answered 201, expected 200$/],
    204: ['unavailable', /answered 204/],
    206: ['unavailable', /answered 206/],
    400: ['unavailable', /answered 400/],
    407: ['unavailable', /answered 407/],
    408: ['unavailable', /answered 408/],
    429: ['unavailable', /answered 429/],
    500: ['unavailable', /answered 500/],
    503: ['unavailable', /answered 503/],
  };
  for (const [number, [code, message]] of Object.entries(outcomes)) {
    status = Number(number);
    await t.rejects(fetchKey(settings(`url: ${origin}/k?token=s3cr3t`, ca)), { code, message }, number);
    await t.rejects(
      fetchKey(settings(`url: ${origin}/k?token=s3cr3t`, ca)),
      { message: /^(?!.*s3cr3t)/ },
      number,
    );
  }
});

t.test('an empty body is no key', async (t) => {
  const origin = await serve(t, (_, answer) => answer.end());
  await t.rejects(fetchKey(settings(`url: ${origin}/k`, ca)), {
    code: 'refused',
    message: `${origin}/k: answered 200 with an empty body, expected a key`,
  });
});

t.test('as long as max-size, and not longer', async (t) => {
  let length = 64;
  const origin = await serve(t, (_, answer) => answer.end(Buffer.alloc(length, 1)));
  using key = await fetchKey(settings(`url: ${origin}/`, ca, 'max-size: 64B'));
  t.equal(key.length, 64);
  length = 65;
  await t.rejects(fetchKey(settings(`url: ${origin}/`, ca, 'max-size: 64B')), {
    code: 'unavailable',
    message: /64 bytes/,
  });
  length = 8193;
  await t.rejects(fetchKey(settings(`url: ${origin}/`, ca)), { code: 'unavailable', message: /8192 bytes/ });
});

t.test('http, where it is allowed', async (t) => {
  const origin = await listen(
    t,
    createHttpServer((_, answer) => answer.end(KEY)),
    'http',
  );
  using key = await fetchKey(settings(`url: ${origin}/`, 'allow-plaintext: true'));
  t.strictSame(key.reveal(), KEY);
});

t.test('nobody there, cut off, stopped', async (t) => {
  await t.rejects(fetchKey(settings('url: https://127.0.0.1:1/', ca)), { code: 'unavailable' });
  const cut = await serve(t, (_, answer) => {
    answer.writeHead(200, { 'content-length': 10 });
    answer.write('12345', () => answer.destroy());
  });
  await t.rejects(fetchKey(settings(`url: ${cut}/`, ca)), { code: 'unavailable' });
  const stop = new AbortController();
  const silent = await serve(t, () => stop.abort());
  await t.rejects(fetchKey(settings(`url: ${silent}/`, ca), stop.signal), { code: 'stopped' });
});
