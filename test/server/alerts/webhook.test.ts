import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { Http } from '../../../src/base/ports.ts';
import { serverLimits } from '../../../src/base/server-limits.ts';
import { clock as realClock } from '../../../src/os/clock.ts';
import { http } from '../../../src/os/http.ts';
import { webhookKey } from '../../../src/server/alerts/message.ts';
import { Webhook } from '../../../src/server/alerts/webhook.ts';
import type { Alert } from '../../../src/server/api/app.ts';
import { portToKeep } from '../../support/ports.ts';
import { isSignedBy, webhookTarget } from '../../support/webhook-target.ts';

t.setTimeout(300_000);

const SECRET = Buffer.alloc(32, 7).toString('base64');

const alert = (requestId: string): Alert => ({
  kind: 'locked',
  machine: 'nas',
  from: '192.0.2.1',
  requestId,
  text: null,
});

/** A webhook that runs, with real connections; its pauses take no time and are noted, in seconds. */
function start(t: Test, url: URL, options: { http?: Http } = {}) {
  const lines: string[] = [];
  const pauses: number[] = [];
  const key = webhookKey(SECRET);
  if (key === null) throw new Error('no key');
  const log = {
    info: (line: string) => void lines.push(`info ${line}`),
    warning: (line: string) => void lines.push(`warning ${line}`),
    error: (line: string) => void lines.push(`error ${line}`),
  };
  const clock = {
    nowMs: realClock.nowMs,
    async sleep(ms: number, signal: AbortSignal) {
      pauses.push(ms / 1000);
      await realClock.sleep(1, signal);
    },
  };
  const random = { fraction: () => 1 };
  const world = { http, clock, wallMs: Date.now, random, log, latestHead: () => null, ...options };
  const webhook = new Webhook({ url, key }, world);
  const end = new AbortController();
  const running = webhook.run(end.signal);
  const stop = async () => {
    end.abort();
    await running;
  };
  t.teardown(stop);
  return { webhook, lines, pauses, stop };
}

t.test('an alert is told once, signed', async (t) => {
  const target = await webhookTarget(t);
  const { webhook, lines } = start(t, target.url);
  const before = Math.floor(Date.now() / 1000);
  webhook.push(alert('first'));
  await target.until(({ length }) => length === 1);
  webhook.push(alert('second'));
  await target.until(({ length }) => length === 2);
  const [first, second] = target.received;
  t.match(first, {
    path: '/hook?for=us',
    headers: { 'content-type': 'application/json', 'webhook-id': 'first-locked' },
    json: { kind: 'locked', machine: 'nas', from: '192.0.2.1', 'request-id': 'first' },
  });
  t.match(second, { headers: { 'webhook-id': 'second-locked' } });
  for (const message of target.received) {
    t.ok(isSignedBy(SECRET, message));
    t.notOk(isSignedBy(Buffer.alloc(32, 8).toString('base64'), message), 'by nobody else');
    const seconds = Number(message.headers['webhook-timestamp']);
    t.ok(seconds >= before && seconds <= Date.now() / 1000, 'at the time that it says');
  }
  t.strictSame({ lines, dropped: webhook.dropped }, { lines: [], dropped: 0 });
});

t.test(
  '500, then 503, 429 and 204: tried until it is taken, in order, with longer and longer pauses',
  async (t) => {
    const answers = [500, 503, 429, 408, 301, 204];
    const target = await webhookTarget(t, (_, index) => answers[index] ?? 200);
    const { webhook, lines, pauses } = start(t, target.url);
    webhook.push(alert('first'));
    webhook.push(alert('second'));
    await target.until(({ length }) => length === 7);
    t.strictSame(
      target.received.map(({ json }) => json['request-id']),
      [...Array.from({ length: 6 }, () => 'first'), 'second'],
    );
    t.strictSame(pauses, [1, 2, 4, 8, 16]);
    t.ok(target.received.every((message) => isSignedBy(SECRET, message)));
    const origin = `webhook ${target.url.origin}`;
    t.strictSame(lines, [
      `warning ${origin}: answered with status 500; it is tried again`,
      `info ${origin}: works again`,
    ]);
    t.equal(webhook.dropped, 0);
  },
);

t.test('what a target does not want is dropped, and said', async (t) => {
  const target = await webhookTarget(t, ({ json }) => (json['request-id'] === 'bad' ? 400 : 200));
  const { webhook, lines, pauses } = start(t, target.url);
  webhook.push(alert('bad'));
  webhook.push(alert('good'));
  await target.until(({ length }) => length === 2);
  t.equal(target.received[1]?.json['request-id'], 'good');
  t.strictSame(lines, [
    `error webhook ${target.url.origin}: answered with status 400: dropped locked of nas [bad]`,
  ]);
  t.strictSame({ pauses, dropped: webhook.dropped }, { pauses: [], dropped: 1 });
});

t.test('a target that hangs is given up, and tried again', async (t) => {
  const target = await webhookTarget(t, (_, index) => (index < 2 ? 'hang' : 200));
  const asked: number[] = [];
  const impatient: Http = {
    request(request) {
      asked.push(request.timeoutMs);
      return http.request({ ...request, timeoutMs: 200 });
    },
  };
  const { webhook, lines } = start(t, target.url, { http: impatient });
  webhook.push(alert('first'));
  await target.until(({ length }) => length === 3);
  t.strictSame(new Set(asked), new Set([serverLimits.webhookTryMs]));
  t.match(lines[0], /^warning webhook http:\/\/127\.0\.0\.1:\d+: timed out after 200 ms; it is tried again$/);
});

t.test('an answer without end is an answer', async (t) => {
  const target = await webhookTarget(t, () => 'endless');
  const { webhook } = start(t, target.url);
  webhook.push(alert('first'));
  webhook.push(alert('second'));
  await target.until(({ length }) => length === 2);
  t.strictSame(
    target.received.map(({ json }) => json['request-id']),
    ['first', 'second'],
  );
});

t.test('nobody there: what waits is bounded, the oldest go first, and their number is said', async (t) => {
  const url = new URL(`http://127.0.0.1:${await portToKeep()}/secret-path`);
  const { webhook, lines, pauses, stop } = start(t, url);
  const count = serverLimits.webhookAlerts + 6;
  webhook.push(alert('under way'));
  while (pauses.length === 0) await pause(1);
  for (let index = 0; index < count; index++) webhook.push(alert(`number ${index}`));
  t.equal(webhook.dropped, 6);
  while (pauses.length < 12) await pause(1);
  t.equal(pauses.at(-1), serverLimits.webhookPauseLongestMs / 1000);
  await stop();
  const origin = `webhook ${url.origin}`;
  t.strictSame(lines, [
    `warning ${origin}: connection refused; it is tried again`,
    `error ${origin}: ${serverLimits.webhookAlerts} alerts wait: the oldest are dropped`,
    `warning ${origin}: stopped, with alerts that were not delivered: ${serverLimits.webhookAlerts + 1}`,
  ]);
  t.notOk(lines.some((line) => line.includes('secret-path')));
});

t.test('a target that comes back gets what is kept, and how many are missing is told', async (t) => {
  let isUp = false;
  const target = await webhookTarget(t, () => (isUp ? 200 : 500));
  const { webhook, lines } = start(t, target.url);
  webhook.push(alert('under way'));
  await target.until(({ length }) => length > 0);
  for (let index = 0; index < serverLimits.webhookAlerts + 2; index++) webhook.push(alert(`${index}`));
  isUp = true;
  await target.until(
    (received) => received.at(-1)?.json['request-id'] === `${serverLimits.webhookAlerts + 1}`,
  );
  const ids = target.received.map(({ json }) => json['request-id']);
  const taken = ids.slice(ids.lastIndexOf('under way'));
  t.strictSame(taken, [
    'under way',
    ...Array.from({ length: serverLimits.webhookAlerts }, (_, at) => `${at + 2}`),
  ]);
  const said = `error webhook ${target.url.origin}: alerts that were dropped: 2`;
  while (lines.at(-1) !== said) await pause(1);
  t.equal(webhook.dropped, 2);
});

t.test('what machines say of themselves makes room for what the server says', async (t) => {
  const target = await webhookTarget(t);
  const { webhook } = start(t, target.url);
  const flood: Alert['kind'][] = Array(serverLimits.webhookAlerts).fill('acted');
  // All in one turn, so that nothing is delivered meanwhile.
  for (const kind of ['revoked', ...flood, 'refused', ...flood] as const)
    webhook.push({ ...alert(kind), kind });
  t.equal(webhook.dropped, serverLimits.webhookAlerts + 2);
  await target.until(({ length }) => length === serverLimits.webhookAlerts);
  const told = target.received.map(({ json }) => json.kind);
  t.same([told[0], told.filter((kind) => kind !== 'acted')], ['revoked', ['revoked', 'refused']]);
});

t.test('it stops at once, whatever it does', async (t) => {
  const target = await webhookTarget(t, () => 'hang');
  const hanging = start(t, target.url);
  hanging.webhook.push(alert('first'));
  await target.until(({ length }) => length === 1);
  await hanging.stop();
  t.match(hanging.lines, [/^warning .*: stopped, with alerts that were not delivered: 1$/]);
  const idle = start(t, target.url);
  await idle.stop();
  t.strictSame(idle.lines, []);
});

t.test('what is no HTTP server', async (t) => {
  const server = createServer((socket) => void socket.end('220 mail.example ESMTP\r\n'));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const { webhook, lines, pauses } = start(t, new URL(`http://127.0.0.1:${port}/`));
  webhook.push(alert('first'));
  while (pauses.length < 2) await pause(1);
  t.match(lines[0], /^warning webhook http:\/\/127\.0\.0\.1:\d+: .*; it is tried again$/);
});
