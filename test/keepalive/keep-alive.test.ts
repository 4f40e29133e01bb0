import { generateKeyPairSync } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { AppError } from '../../src/base/errors.ts';
import { keyPinOf } from '../../src/base/key-pin.ts';
import type { ServerRequest } from '../../src/base/server-connection.ts';
import { onlyKey } from '../../src/config/server-keys.ts';
import { HeadWitness } from '../../src/keepalive/head-witness.ts';
import { ServerKeepalive } from '../../src/keepalive/keep-alive.ts';
import { KeyFollower } from '../../src/keepalive/key-follower.ts';
import type { Outcome } from '../../src/keepalive/world.ts';
import { clock } from '../../src/os/clock.ts';
import { durableFiles } from '../../src/os/durable-files.ts';
import { files } from '../../src/os/files.ts';
import { random } from '../../src/os/random.ts';
import { eventText } from '../../src/wire/event-stream.ts';

const { publicKey: serverKey } = generateKeyPairSync('ed25519');
const ARMED = { 'lease-left-ms': null, 'audit-head': null };
type Answer = 'armed' | 'locked' | 'revoked' | 'cut';

/** A server whose stream and whose answers may disagree, as those of a real one do for an instant. */
function daemon(t: Test, { failingOrders = 0 } = {}) {
  const line = { answer: 'armed' as Answer, outcome: 'done' as Outcome, connections: 0, identities: 0 };
  const seen = { requests: [] as string[], orders: [] as string[], lines: [] as string[] };
  const events: string[] = [];
  let more = Promise.withResolvers<void>();
  const note = (text: string) => seen.lines.push(text);
  const answerTo = ({ path, json }: ServerRequest) => {
    const kind = path === '/v1/alerts' ? ` ${JSON.parse(String(json)).text}` : '';
    seen.requests.push(path + kind);
    if (line.answer === 'cut') throw new AppError('unavailable', 'cut off');
    const { answer: code } = line;
    const refusal = { code, message: 'no', 'request-id': 'x' };
    const ok = path === '/v1/alerts' || code === 'armed';
    const body = ok ? (path === '/v1/alerts' ? {} : ARMED) : refusal;
    return { status: ok ? 200 : 403, body: Buffer.from(JSON.stringify(body)) };
  };
  async function* chunks(signal: AbortSignal) {
    signal.addEventListener('abort', () => more.resolve());
    for (let at = 0; ; at++) {
      if (at === events.length) await more.promise;
      if (signal.aborted) return;
      yield Buffer.from(eventText({ status: events[at] }));
    }
  }
  const world = {
    clock,
    random,
    files,
    durable: durableFiles,
    wallMs: Date.now,
    journal: { info: note, warning: note, error: note },
    serverWorld: {
      connector: {
        async connect() {
          line.connections++;
          if (line.answer === 'cut') throw new AppError('unavailable', 'cut off');
          return {
            serverKey,
            request: async (request: ServerRequest) => answerTo(request),
            stream: async (_: string, _silenceMs: number, signal: AbortSignal) => ({
              status: 200,
              chunks: chunks(signal),
            }),
            close: () => {},
          };
        },
      },
      async identity() {
        line.identities++;
        return { clientCertificate: Buffer.alloc(0), clientKey: Buffer.alloc(0) };
      },
      bootId: async () => 'b',
      leftProof: async () => null,
      keptAlive() {},
    },
    leftProof: async () => null,
    keptAlive: () => {},
    order(verdict: string) {
      if (failingOrders-- > 0) throw new AppError('unavailable', 'no room');
      seen.orders.push(verdict);
      seen.requests.push(`order ${verdict}`);
    },
    outcome: () => line.outcome,
    rest: () => {},
    ready: () => {},
    watchdogMs: null,
    alive: () => {},
  };
  const stop = new AbortController();
  const pinSha256 = keyPinOf(serverKey);
  const settings = { url: new URL('https://x'), pinSha256, keys: onlyKey(pinSha256), identity: '/x' };
  const keepalive = new ServerKeepalive({
    name: 'home',
    settings,
    follower: new KeyFollower('home', settings, '/nowhere', world),
    protect: 'best-effort',
    actions: { locked: ['suspend'], revoked: ['suspend', 'poweroff'] },
    witness: new HeadWitness('home', `${t.testdir({})}/heads`, world),
    world,
    signal: stop.signal,
  });
  const running = keepalive.run();
  t.teardown(async () => {
    stop.abort();
    await running;
  });
  const heard = async (condition: () => boolean) => {
    while (!condition()) await pause(10);
  };
  return {
    line,
    seen,
    running,
    heard,
    tell(status: Answer): void {
      events.push(status);
      const { resolve } = more;
      more = Promise.withResolvers();
      resolve();
    },
    keepalives: () => seen.requests.filter((path) => path === '/v1/keepalive').length,
  };
}

t.test('what the stream says is asked about; the answer counts', async (t) => {
  const { line, seen, heard, tell, keepalives } = daemon(t);
  await heard(() => seen.lines.includes('watching home') && keepalives() === 1);
  tell('armed');
  tell('revoked');
  await heard(() => seen.lines.length === 2);
  t.ok(keepalives() >= 2, 'asked once more');
  t.same(seen.lines, ['watching home', 'home: told revoked, and then otherwise: nothing is done']);
  t.same(seen.orders, []);

  line.answer = 'locked';
  tell('locked');
  await heard(() => seen.orders.length === 1);
  t.same(seen.orders, ['locked']);
  await heard(() => seen.requests.at(-1)?.endsWith('done') === true);
  t.same(
    seen.requests.filter((one) => one !== '/v1/keepalive'),
    ['/v1/alerts locked: doing suspend', 'order locked', '/v1/alerts locked: suspend: done'],
    'once; a report goes before, and one after',
  );
  line.answer = 'armed';
  tell('armed');
  await heard(() => seen.lines.includes('home: armed again'));

  line.answer = 'revoked';
  tell('locked');
  await heard(() => seen.orders.length === 2);
  t.same(seen.orders, ['locked', 'revoked'], 'what the answer says is done, not what the stream said');
  t.equal(line.identities, 1, 'the TPM was asked once');
});

t.test('a line that is down is no answer', async (t) => {
  const { line, seen, heard, tell, keepalives } = daemon(t);
  await heard(() => seen.lines.includes('watching home') && keepalives() === 1);
  const before = line.connections;
  line.answer = 'cut';
  tell('revoked');
  await heard(() => line.connections > before + 2);
  t.same(seen.orders, []);
  t.equal(seen.lines.filter((text) => text === 'home: watch: cut off').length, 1, 'told once');
  line.answer = 'revoked';
  await heard(() => seen.orders.length === 1);
  t.same(seen.orders, ['revoked'], 'it is, once it is back');
});

t.test('after revoked nothing comes; the daemon ends', async (t) => {
  const { line, running, heard, tell, keepalives } = daemon(t);
  await heard(() => keepalives() === 1);
  line.answer = 'revoked';
  tell('revoked');
  await running;
  t.pass('ended');
});

t.test('what became of an order is told, as it was, when the server can be reached', async (t) => {
  const { line, seen, running, heard, tell, keepalives } = daemon(t);
  await heard(() => keepalives() === 1);
  line.outcome = 'failed';
  line.answer = 'locked';
  tell('locked');
  await heard(() => seen.requests.includes('/v1/alerts locked: suspend: failed'));
  const unit = 'fetch-luks-key-act@locked.service';
  t.ok(seen.lines.includes(`home: locked: suspend: failed (hint: journalctl -u ${unit})`));

  line.outcome = 'under way';
  line.answer = 'revoked';
  tell('revoked');
  await heard(() => seen.orders.length === 2);
  line.answer = 'cut';
  line.outcome = 'done';
  await heard(() => seen.lines.includes('home: report: cut off'));
  t.notOk(seen.requests.includes('/v1/alerts revoked: suspend, poweroff: done'));
  line.answer = 'revoked';
  await running;
  t.ok(seen.requests.includes('/v1/alerts revoked: suspend, poweroff: done'), 'before the daemon ends');
  t.equal(seen.requests.filter((one) => /(failed|done)$/.test(one)).length, 2, 'each once');
});

t.test('an order that nobody takes is told', async (t) => {
  const { line, seen, heard, tell, keepalives } = daemon(t);
  await heard(() => keepalives() === 1);
  line.outcome = 'not begun';
  line.answer = 'locked';
  tell('locked');
  await heard(() => seen.requests.includes('/v1/alerts locked: suspend: not begun'));
  const unit = 'fetch-luks-key-act@locked.path';
  t.ok(seen.lines.includes(`home: locked: suspend: not begun (hint: is ${unit} active?)`));
});

t.test('what cannot be ordered is ordered again', async (t) => {
  const { line, seen, heard, tell, keepalives } = daemon(t, { failingOrders: 1 });
  await heard(() => keepalives() === 1);
  line.answer = 'locked';
  tell('locked');
  await heard(() => seen.lines.includes('home: locked: no room'));
  tell('locked');
  await heard(() => seen.orders.length === 1);
  t.same(seen.orders, ['locked']);
});

t.test('a locked machine asks less and less often', async (t) => {
  const { line, seen, heard, tell, keepalives } = daemon(t);
  line.answer = 'locked';
  tell('locked');
  await heard(() => seen.orders.length === 1);
  await pause(4000);
  t.ok(keepalives() <= 4, `${keepalives()} keep-alives`);
  t.same(seen.orders, ['locked']);
});
