import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { type AddressInfo, connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { provenKey } from '../../src/os/proven-key.ts';
import { createAuthority, daysFromNow, type Identity, renewed, selfSigned } from '../support/certificates.ts';
import { connectTls, GET, received, startHttps } from '../support/https.ts';
import { run } from '../support/run.ts';

function folder(t: Test): (name: string, contents: Uint8Array) => string {
  const path = mkdtempSync(join(tmpdir(), 'https-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  return (name, contents) => {
    writeFileSync(join(path, name), contents, { mode: 0o600 });
    return join(path, name);
  };
}

/** OpenSSL's own client: its report, and what the server answered. */
async function openssl(port: number, args: readonly string[]): Promise<string> {
  const command = ['/usr/bin/openssl', 's_client', '-connect', `127.0.0.1:${port}`, '-ign_eof', ...args];
  const { stdout, stderr } = await run(command, Buffer.from(GET), {});
  return stdout.toString('latin1') + stderr;
}

async function whoIs(t: Test, port: number, identity?: Identity): Promise<string | undefined> {
  const socket = await connectTls(t, port, identity === undefined ? {} : { identity });
  socket.write(GET);
  return (await received(socket)).split('\r\n\r\n')[1];
}

t.test('TLS 1.3 and nothing else', async (t) => {
  const { port } = await startHttps(t);
  t.match(await openssl(port, ['-tls1_3']), /HTTP\/1\.1 200 OK/);
  for (const old of [['-tls1_2'], ['-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0']]) {
    const report = await openssl(port, old);
    t.match(report, /alert protocol version/, old[0] ?? '');
    t.notMatch(report, /HTTP/);
  }
});

t.test('offers HTTP/1.1 alone', async (t) => {
  const { port } = await startHttps(t);
  t.match(await openssl(port, ['-alpn', 'h2,http/1.1']), /ALPN protocol: http\/1\.1/);
  t.match(await openssl(port, ['-alpn', 'h2']), /no application protocol/);
});

t.test('asks for a certificate of any authority, and names none', async (t) => {
  const { port } = await startHttps(t);
  t.match(await openssl(port, []), /No client certificate CA names sent/);
});

t.test('a client is its key', async (t) => {
  const { port } = await startHttps(t);
  const machine = selfSigned({});
  const who = machine.pinSha256.toString('hex');
  t.equal(await whoIs(t, port, machine), who);
  t.equal(await whoIs(t, port), 'stranger', 'without a certificate');
  const others: [string, Identity][] = [
    ['renewed', renewed(machine, {})],
    ['expired', renewed(machine, { from: daysFromNow(-20), until: daysFromNow(-10) })],
    ['not yet valid', renewed(machine, { from: daysFromNow(10), until: daysFromNow(20) })],
    ['for another name', renewed(machine, { names: ['other.example'] })],
  ];
  for (const [title, identity] of others) {
    t.not(identity.certificate.toString(), machine.certificate.toString());
    t.equal(await whoIs(t, port, identity), who, title);
  }
  const authority = createAuthority('an authority');
  const impostor = authority.issue({ names: ['self-signed'] });
  t.equal(await whoIs(t, port, impostor), impostor.pinSha256.toString('hex'), 'another key: another machine');
});

t.test('curl is taken for its key too', async (t) => {
  const { port } = await startHttps(t);
  const machine = selfSigned({});
  const write = folder(t);
  const files = ['--cert', write('cert.pem', machine.certificate), '--key', write('key.pem', machine.key)];
  const url = `https://127.0.0.1:${port}/`;
  const { stdout } = await run(['/usr/bin/curl', '-sSk', ...files, url], Buffer.alloc(0), {});
  t.equal(stdout.toString(), machine.pinSha256.toString('hex'));
});

t.test('what OpenSSL kept of a session is of no use to one without the key', async (t) => {
  const { port } = await startHttps(t);
  const victim = selfSigned({});
  const write = folder(t);
  const files = ['-cert', write('cert.pem', victim.certificate), '-key', write('key.pem', victim.key)];
  const session = write('session.pem', Buffer.alloc(0));
  const first = await openssl(port, [...files, '-sess_out', session]);
  t.match(first, victim.pinSha256.toString('hex'));
  const second = await openssl(port, ['-sess_in', session]);
  t.match(second, /^New, TLSv1\.3/m);
  t.match(second, /\r\n\r\nstranger/);
  const own = await openssl(port, [...files, '-sess_in', session]);
  t.match(own, /^New, TLSv1\.3/m, 'not even to the one with it');
});

/** A connection of the victim's that ends well, and all that its client could keep of it. */
async function sessionsOf(t: Test, port: number, victim: Identity): Promise<Buffer[]> {
  const sessions: Buffer[] = [];
  const socket = connect({
    host: '127.0.0.1',
    port,
    rejectUnauthorized: false,
    cert: victim.certificate,
    key: victim.key,
  });
  t.teardown(() => socket.destroy());
  socket.on('session', (session) => sessions.push(session));
  await once(socket, 'secureConnect');
  socket.write(GET);
  t.match(await received(socket), victim.pinSha256.toString('hex'));
  return sessions;
}

t.test('a ticket without the key makes a stranger', async (t) => {
  const { port } = await startHttps(t);
  const victim = selfSigned({});
  const sessions = await sessionsOf(t, port, victim);
  t.ok(sessions.length > 0, 'OpenSSL sends numbers of sessions');
  for (const session of sessions) {
    const thief = await connectTls(t, port, { session });
    t.notOk(thief.isSessionReused());
    thief.write(GET);
    t.match(await received(thief), /\r\n\r\nstranger$/);
  }
});

t.test('a session that is resumed after all proves no key', async (t) => {
  // Node's defaults take a ticket for its owner: this is what the above is for.
  const victim = selfSigned({});
  const seen: { shown: boolean; proven: string }[] = [];
  const { certificate: cert, key } = selfSigned({});
  const server = createServer(
    { cert, key, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      const socket = request.socket as TLSSocket;
      const proven = provenKey(socket)?.toString('hex') ?? 'stranger';
      seen.push({ shown: socket.getPeerX509Certificate() !== undefined, proven });
      response.end(proven);
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const [session] = await sessionsOf(t, port, victim);
  const thief = await connectTls(t, port, { session });
  t.ok(thief.isSessionReused(), 'it was resumed');
  thief.write(GET);
  await received(thief);
  t.same(seen, [
    { shown: true, proven: victim.pinSha256.toString('hex') },
    { shown: true, proven: 'stranger' },
  ]);
});

t.test('what is no handshake is closed', async (t) => {
  const { port, calls } = await startHttps(t);
  const socket = connectTcp(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.resume().write(GET);
  await once(socket, 'close');
  t.same(calls, []);
});

t.test('a certificate of another key is bad configuration', async (t) => {
  const identity = { ...selfSigned({}), key: selfSigned({}).key };
  await t.rejects(startHttps(t, undefined, { identity }), {
    code: 'bad-config',
    message: /certificate and key/,
  });
});

t.test('an address that is taken', async (t) => {
  const { port } = await startHttps(t);
  const { serveHttps } = await import('../../src/os/https-server.ts');
  const { certificate, key } = selfSigned({});
  const service = {
    admits: () => true,
    crowded() {},
    answer: () => Promise.reject(),
    refuse: () => Promise.reject(),
  } as never;
  const place = { host: '127.0.0.1', port };
  await t.rejects(serveHttps({ certificate, key, asksForKey: true, place }, service), {
    code: 'unavailable',
    message: `127.0.0.1 port ${port}: cannot listen (EADDRINUSE)`,
  });
});
