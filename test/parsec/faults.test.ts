import type { Socket } from 'node:net';
import t from 'tap';
import { limits } from '../../src/base/limits.ts';
import { localService } from '../../src/os/local-service.ts';
import { parsecSocket } from '../../src/os/parsec-socket.ts';
import { responseBytes } from '../../src/parsec/frame.ts';
import { parsecAt } from '../../src/parsec/parsec.ts';
import { response, strangeParsec } from '../support/strange-parsec.ts';
import { noAbort, ownFolder } from '../support/tpm.ts';

const PING = 1;
const pong = response(PING, Buffer.from([0x08, 1]));

const parsecOn = (path: string) =>
  parsecAt(
    localService(() => path),
    0,
  );

t.test('strange answers', async (t) => {
  const cases: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ['nothing', Buffer.alloc(0), /parsec\.sock: the connection ended before the answer did$/],
    ['text', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), /got no response of Parsec$/],
    ['half a header', pong.subarray(0, 17), /the connection ended before the answer did$/],
    ['no body', pong.subarray(0, 37), /the connection ended before the answer did$/],
    [
      'version 2',
      response(PING, Buffer.alloc(0), (head) => head.writeUInt8(2, 6)),
      /got wire protocol 2\.0 with/,
    ],
    [
      'a longer header',
      response(PING, Buffer.alloc(9), (head) => head.writeUInt16LE(31, 4)),
      /a header of 31 bytes$/,
    ],
    [
      'endless',
      response(PING, Buffer.alloc(0), (head) => head.writeUInt32LE(0xffffffff, 22)),
      /got a response of 4294967331 bytes$/,
    ],
    [
      'to another question',
      response(2, Buffer.from([0x08, 1])),
      /got a response to operation 2 of provider 0$/,
    ],
    [
      'of another provider',
      response(PING, Buffer.of(8, 1), (head) => head.writeUInt8(3, 10)),
      /of provider 3$/,
    ],
    [
      'an unknown status',
      response(PING, Buffer.alloc(0), (head) => head.writeUInt16LE(777, 32)),
      /\(status 777\)$/,
    ],
    ['protocol 9', response(PING, Buffer.from([0x08, 9])), /expected wire protocol 1\.0, got 9\.0$/],
    [
      'a field without an end',
      response(PING, Buffer.from([0x0a, 9, 1])),
      /the answer is not what its definition says$/,
    ],
    ['a number without an end', response(PING, Buffer.alloc(20, 0xff)), /the answer is not what/],
    ['an end of a group', response(PING, Buffer.from([0x0c])), /the answer is not what/],
    ['bytes for a number', response(PING, Buffer.from([0x0a, 1, 1])), /the answer is not what/],
  ];
  for (const [title, bytes, message] of cases) {
    const path = await strangeParsec(t, (socket) => socket.end(bytes));
    await t.rejects(parsecOn(path).providers(noAbort), { code: 'unavailable', message }, title);
  }
});

t.test('an answer a byte at a time, by who then keeps the connection', async (t) => {
  const path = await strangeParsec(t, (socket) => void trickle(socket));
  await t.rejects(parsecOn(path).providers(noAbort), {
    message:
      'parsec: list providers: expected a response in wire protocol 1.0, got a response to operation 1 of provider 0',
  });
});

async function trickle(socket: Socket): Promise<void> {
  for (const byte of pong) await new Promise((done) => socket.write(Buffer.of(byte), done));
}

t.test('who hangs is given up, and at once when nobody waits', async (t) => {
  const path = await strangeParsec(t, () => {});
  const service = localService(() => path);
  const message = `${path}: no answer within 0.1 s`;
  await t.rejects(service.ask(pong, responseBytes, 100, noAbort), { code: 'unavailable', message });
  const stop = new AbortController();
  const asking = parsecAt(service, 0).providers(stop.signal);
  stop.abort();
  await t.rejects(asking, { code: 'stopped' });
  await t.rejects(parsecAt(service, 0).providers(stop.signal), { code: 'stopped' });
  t.ok(limits.parsecTimeoutMs < limits.giveUpAfterMs, 'a volume has time for another try');
});

t.test('who closes without a word, and nobody', async (t) => {
  const path = await strangeParsec(t, (socket) => socket.destroy());
  await t.rejects(parsecOn(path).providers(noAbort), { code: 'unavailable', message: /^parsec: ping: / });
  const absent = `${ownFolder(t)}/parsec.sock`;
  t.notOk(parsecOn(absent).isThere(), 'no service on this machine');
  t.ok(parsecOn(path).isThere());
  await t.rejects(parsecOn(absent).makeKey('tpm', 'x', noAbort), {
    code: 'unavailable',
    message: /no such socket$/,
  });
});

t.test('where it is', async (t) => {
  t.equal(parsecSocket({}), '/run/parsec/parsec.sock');
  t.equal(parsecSocket({ PARSEC_SERVICE_ENDPOINT: 'unix:/tmp/x y' }), '/tmp/x y');
  for (const endpoint of ['tcp:1.2.3.4', 'unix:relative', '/run/x']) {
    t.throws(() => parsecSocket({ PARSEC_SERVICE_ENDPOINT: endpoint }), { code: 'bad-config' }, endpoint);
  }
});
