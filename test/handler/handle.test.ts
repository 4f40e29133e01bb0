import t from 'tap';
import { AppError } from '../../src/base/errors.ts';
import type { Connection, Files, Logger } from '../../src/base/ports.ts';
import { type HandlerWorld, handle } from '../../src/handler/handle.ts';
import { http } from '../../src/os/http.ts';
import { random } from '../../src/os/random.ts';
import type { Tpm } from '../../src/tpm/tpm.ts';

const places = () => ({ etc: '/nowhere', crypttab: '/nowhere/crypttab' });

function connectionFrom(name: string, over: Partial<Connection> = {}) {
  const sent: Buffer[] = [];
  const connection: Connection = {
    peerAddress: Buffer.from(`\0${name}`),
    peer: { pid: 7, uid: 0 },
    socketPath: '',
    way: 'descriptor',
    peerIsTrusted: true,
    isGone: () => false,
    send: async (bytes) => void sent.push(Buffer.from(bytes)),
    ...over,
  };
  return { connection, sent };
}

/** Files that are never there, or whose reading never ends. */
const nothing: Files = {
  read: async () => null,
  readRange: () => new Promise(() => {}),
  list: async () => [],
  mode: async () => null,
};

/** No server is configured: whatever is asked of one throws. */
const serverWorld = {} as HandlerWorld['serverWorld'];

/** Waits for nobody's cleaning up. */
const clock = { nowMs: () => performance.now(), sleep: async () => {} };

function worldWith(files: Files) {
  const lines: string[] = [];
  const at = (priority: number) => (line: string) => void lines.push(`<${priority}>${line}`);
  const journal: Logger = { info: at(6), warning: at(4), error: at(3) };
  const world: HandlerWorld = {
    clock,
    random,
    files,
    http,
    tpm: {} as Tpm,
    credentials: {} as HandlerWorld['credentials'],
    parsec: {} as HandlerWorld['parsec'],
    journal,
    serverWorld,
    leaveProof: () => {},
    pinOf: () => () => Promise.reject(new Error('a PIN was asked for')),
  };
  return { world, lines };
}

const never = new AbortController().signal;

t.test('a defect anywhere is answered with a refusal, and logged as what it is', async (t) => {
  const stalled: Files = { ...nothing, read: () => new Promise(() => {}) };
  for (const files of [
    stalled,
    { ...nothing, read: () => Promise.reject(new TypeError('x is not a function')) },
  ]) {
    const { connection, sent } = connectionFrom('1a/cryptsetup/data');
    const { world, lines } = worldWith(files);
    const stop = new AbortController();
    setTimeout(() => stop.abort(new AppError('bug', 'x is not a function')), 20);
    t.equal(await handle(connection, places, world, stop.signal), 1);
    t.equal(sent[0]?.length, 64);
    t.equal(lines.length, 1);
    t.match(lines[0], /^<3>data: x is not a function/);
  }
});

t.test('a wrong command line is answered too', async (t) => {
  const { connection, sent } = connectionFrom('1a/cryptsetup/data');
  const { world, lines } = worldWith(nothing);
  const wrong = () => {
    throw new AppError('usage', 'handle: unknown option');
  };
  t.equal(await handle(connection, wrong, world, never), 2);
  t.equal(sent[0]?.length, 64);
  t.same(lines, ['<3>data: handle: unknown option']);
});

t.test('who is neither root nor we gets no key', async (t) => {
  const stranger = { peer: { pid: 7, uid: 1000 }, peerIsTrusted: false };
  const { connection, sent } = connectionFrom('1a/cryptsetup/data', stranger);
  const { world, lines } = worldWith(nothing);
  t.equal(await handle(connection, places, world, never), 4);
  t.equal(sent[0]?.length, 64);
  t.same(lines, ['<4>data: process 7 of user 1000 may not ask for keys']);
});

t.test('a device that stalls does not keep the handler from ending', async (t) => {
  const crypttab = Buffer.from('data /dev/stalled /run/fetch-luks-key/default.sock luks\n');
  const files: Files = { ...nothing, read: async (path) => (path.endsWith('crypttab') ? crypttab : null) };
  const { connection, sent } = connectionFrom('1a/cryptsetup/data');
  const { world } = worldWith(files);
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 20);
  t.equal(await handle(connection, places, world, stop.signal), 5);
  t.equal(sent[0]?.length, 64);
});
