import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket, TlsOptions } from 'node:tls';
import t, { type Test } from 'tap';
import type { HttpRequest, TlsSettings } from '../../src/base/ports.ts';
import { http, httpTrusting } from '../../src/os/http.ts';
import { tlsClient } from '../../src/os/tls.ts';
import { createAuthority, daysFromNow, type Identity, selfSigned } from '../support/certificates.ts';
import { type FakeServer, serveBytes, serveTls } from '../support/servers.ts';

const authority = createAuthority('test authority');

function get(port: number, tls: TlsSettings, host = '127.0.0.1'): HttpRequest {
  return {
    method: 'GET',
    url: new URL(`https://${host}:${port}/key`),
    tls,
    maxBodyBytes: 1024,
    timeoutMs: 10_000,
    signal: new AbortController().signal,
  };
}

/** Answers each request with 200; notes every byte that came after the handshake. */
function serve(test: Test, identity: Identity, options: TlsOptions = {}) {
  const seen = { bytes: 0, sockets: [] as TLSSocket[] };
  const starting = serveTls(test, { cert: identity.certificate, key: identity.key, ...options }, (socket) => {
    seen.sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', (data) => {
      seen.bytes += data.length;
      if (data.toString().endsWith('\r\n\r\n')) socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
    });
  });
  return starting.then((server: FakeServer) => ({ ...server, seen }));
}

t.test('a valid certificate of the given authority', async (t) => {
  const server = await serve(t, authority.issue({ names: ['localhost', '127.0.0.1'] }));
  for (const host of ['127.0.0.1', 'localhost']) {
    const { status, body } = await http.request(get(server.port, { ca: authority.certificate }, host));
    t.same([status, body.toString()], [200, 'ok'], host);
  }
  for (const socket of server.seen.sockets) t.equal(socket.alpnProtocol, false, 'server without ALPN');
  await server.allClosed();
});

t.test('faults of the certificate end the exchange before its first byte', async (t) => {
  const good = { names: ['127.0.0.1'] };
  const other = createAuthority('other authority');
  const cases: [string, Identity, RegExp][] = [
    [
      'expired',
      authority.issue({ ...good, from: daysFromNow(-20), until: new Date('2020-02-03T04:05:06Z') }),
      /: certificate expired on 2020-02-03T04:05:06\.000Z, by our clock it is 2/,
    ],
    [
      'not yet valid',
      authority.issue({ ...good, from: daysFromNow(2), until: daysFromNow(3) }),
      /: certificate valid from .*, by our clock it is 2/,
    ],
    [
      'other name',
      authority.issue({ names: ['keys.example', '127.0.0.2'] }),
      /: certificate of another name: expected 127\.0\.0\.1, got DNS:keys\.example, IP Address:127\.0\.0\.2$/,
    ],
    ['no name', authority.issue({}), /: certificate of another name: expected 127\.0\.0\.1, got none$/],
    ['unknown authority', other.issue(good), /: certificate of an unknown authority, CN=other authority$/],
    ['self-signed', selfSigned(good), /: certificate of an unknown authority, CN=self-signed$/],
  ];
  for (const [name, identity, message] of cases) {
    const server = await serve(t, identity);
    const asked = http.request(get(server.port, { ca: authority.certificate }));
    await t.rejects(asked, { code: 'unavailable', message }, name);
    await server.allClosed();
    t.equal(server.seen.bytes, 0, `${name}: no byte of the request`);
  }
});

t.test("an authority's text cannot forge lines", async (t) => {
  const server = await serve(t, createAuthority(`a\n<0>b${'c'.repeat(60)}`).issue({ names: ['127.0.0.1'] }));
  const fault = await http.request(get(server.port, { ca: authority.certificate })).catch((thrown) => thrown);
  t.equal(fault.code, 'unavailable');
  t.match(fault.message, /^[ -~…]+$/);
});

t.test('a pinned key decides alone: name, dates and issuer do not', async (t) => {
  for (const identity of [
    selfSigned({}),
    selfSigned({ names: ['other.example'], from: daysFromNow(-20), until: daysFromNow(-10) }),
    authority.issue({ from: daysFromNow(10), until: daysFromNow(20) }),
  ]) {
    const server = await serve(t, identity);
    t.equal((await http.request(get(server.port, { pinsSha256: [identity.pinSha256] }))).status, 200);
  }
});

t.test('with another key than the pinned one not one byte of the request leaves', async (t) => {
  const pinned = authority.issue({ names: ['127.0.0.1'] });
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const impostor = await serve(t, authority.issue({ names: ['127.0.0.1'] }), {
      minVersion: version,
      maxVersion: version,
    });
    // Not even a certificate that is valid in every other way helps.
    const tls = { pinsSha256: [pinned.pinSha256], ca: authority.certificate };
    await t.rejects(http.request(get(impostor.port, tls)), {
      code: 'unavailable',
      message: /: the server's key is not the pinned one: expected sha256\/.{43}, got sha256\/.{43}$/,
    });
    await impostor.allClosed();
    t.equal(impostor.seen.bytes, 0, version);
  }
});

t.test('a pin of the wrong length never matches', async (t) => {
  const identity = selfSigned({});
  const server = await serve(t, identity);
  for (const pinSha256 of [Buffer.alloc(0), identity.pinSha256.subarray(0, 31)]) {
    await t.rejects(http.request(get(server.port, { pinsSha256: [pinSha256] })), { code: 'unavailable' });
  }
  t.equal(server.seen.bytes, 0);
});

t.test('no session is offered again', async (t) => {
  const identity = authority.issue({ names: ['127.0.0.1'] });
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const server = await serve(t, identity, { minVersion: version, maxVersion: version });
    for (const tls of [{ pinsSha256: [identity.pinSha256] }, { ca: authority.certificate }]) {
      for (let round = 0; round < 3; round++) {
        t.equal((await http.request(get(server.port, tls))).status, 200);
      }
    }
    t.equal(server.seen.sockets.length, 6);
    t.notOk(
      server.seen.sockets.some((socket) => socket.isSessionReused()),
      version,
    );
  }
});

t.test('offers HTTP/1.1 and nothing else', async (t) => {
  const identity = selfSigned({});
  const tls = { pinsSha256: [identity.pinSha256] };
  const both = await serve(t, identity, { ALPNProtocols: ['h2', 'http/1.1'] });
  t.equal((await http.request(get(both.port, tls))).status, 200);
  t.equal(both.seen.sockets[0]?.alpnProtocol, 'http/1.1');
  const h2 = await serve(t, identity, { ALPNProtocols: ['h2'] });
  await t.rejects(http.request(get(h2.port, tls)), { code: 'unavailable', message: /: TLS failed: / });
});

t.test('nothing below TLS 1.2', async (t) => {
  const identity = selfSigned({});
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
  const server = await serve(t, identity, old);
  await t.rejects(http.request(get(server.port, { pinsSha256: [identity.pinSha256] })), {
    code: 'unavailable',
    message: /: TLS failed: /,
  });
  t.equal(server.seen.sockets.length, 0);
});

t.test('a server that speaks no TLS', async (t) => {
  const server = await serveBytes(t, (socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  await t.rejects(http.request(get(server.port, { ca: authority.certificate })), {
    code: 'unavailable',
    message: /: TLS failed: wrong version number$/,
  });
});

t.test('shows its own certificate to a server that asks', async (t) => {
  const server = await serve(t, authority.issue({ names: ['127.0.0.1'] }), {
    requestCert: true,
    rejectUnauthorized: true,
    ca: authority.certificate,
  });
  const us = authority.issue({});
  const shown = { ca: authority.certificate, clientCertificate: us.certificate, clientKey: us.key };
  t.equal((await http.request(get(server.port, shown))).status, 200);
  const stranger = selfSigned({});
  for (const tls of [
    { ca: authority.certificate },
    { ca: authority.certificate, clientCertificate: stranger.certificate, clientKey: stranger.key },
  ]) {
    await t.rejects(http.request(get(server.port, tls)), { code: 'unavailable' });
  }
  t.equal(server.seen.sockets.length, 1);
});

t.test("the machine's own store is what counts where nothing is given", async (t) => {
  const server = await serve(t, authority.issue({ names: ['127.0.0.1'] }));
  await t.rejects(http.request(get(server.port, {})), {
    code: 'unavailable',
    message: /: certificate of an unknown authority, CN=test authority$/,
  });
  const folder = mkdtempSync(join(tmpdir(), 'store-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const store = join(folder, 'ca-certificates.crt');
  writeFileSync(store, Buffer.concat([createAuthority('first').certificate, authority.certificate]));
  t.equal((await httpTrusting(store).request(get(server.port, {}))).status, 200);
  await t.rejects(httpTrusting(join(folder, 'absent')).request(get(server.port, {})), {
    code: 'bad-config',
    message: /absent: cannot be read: ENOENT$/,
  });
  writeFileSync(store, '');
  await t.rejects(httpTrusting(store).request(get(server.port, {})), { code: 'bad-config' });
});

t.test('unusable files are bad configuration, before anything is sent', async (t) => {
  const identity = authority.issue({ names: ['127.0.0.1'] });
  const server = await serve(t, identity);
  const garbage = Buffer.from('garbage');
  const ca = authority.certificate;
  const other = authority.issue({});
  const cases: [string, TlsSettings, RegExp][] = [
    ['ca', { ca: garbage }, /: ca: expected certificates in PEM$/],
    [
      'certificate',
      { ca, clientCertificate: garbage, clientKey: other.key },
      /: client certificate and key: /,
    ],
    [
      'key',
      { ca, clientCertificate: other.certificate, clientKey: garbage },
      /: client certificate and key: /,
    ],
    [
      'certificate of another key',
      { ca, clientCertificate: other.certificate, clientKey: identity.key },
      /: client certificate and key: key values mismatch$/,
    ],
    ['no key', { ca, clientCertificate: other.certificate }, /: expected both or none, got one$/],
    ['no certificate', { ca, clientKey: other.key }, /: expected both or none, got one$/],
  ];
  for (const [name, tls, message] of cases) {
    await t.rejects(http.request(get(server.port, tls)), { code: 'bad-config', message }, name);
  }
  t.equal(server.seen.sockets.length, 0);
});

t.test('a socket that is not handed on is closed', async (t) => {
  const server = await serve(t, selfSigned({}));
  const transport = connect(server.port, '127.0.0.1');
  await once(transport, 'connect');
  const client = tlsClient({ pinsSha256: [Buffer.alloc(32)] }, '');
  await t.rejects(client.secure(transport, '127.0.0.1'), { code: 'unavailable' });
  await server.allClosed();
});
