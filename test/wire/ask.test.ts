import t from 'tap';
import * as v from 'valibot';
import { serverConnector } from '../../src/os/server-connection.ts';
import { ask } from '../../src/wire/ask.ts';
import { startHttps, text } from '../support/https.ts';

const response = v.object({ n: v.number() });
const signal = new AbortController().signal;

async function answered(t: Parameters<typeof startHttps>[0], status: number, body: string) {
  const { port, identity } = await startHttps(t, async (call) => {
    await call.body(1000);
    return text(status, body);
  });
  const tls = { pinsSha256: [identity.pinSha256] };
  const connection = await serverConnector.connect(new URL(`https://127.0.0.1:${port}`), tls, 10_000, signal);
  t.teardown(() => connection.close());
  return ask(connection, { method: 'POST', path: '/x', body: { a: 1 }, response, timeoutMs: 10_000, signal });
}

t.test('a value, or why not', async (t) => {
  t.same(await answered(t, 200, '{"n":1,"more":2}'), { refusal: null, value: { n: 1 } });
  t.same(await answered(t, 403, '{"code":"locked","message":"","request-id":"r"}'), {
    refusal: 'locked',
    requestId: 'r',
  });
});

t.test('an answer that is not of the protocol says nothing about the machine', async (t) => {
  const refusal = '{"code":"revoked","message":"","request-id":"r"}';
  for (const [status, body] of [
    [200, '{"n":"1"}'],
    [200, refusal],
    [200, 'n'],
    [200, ''],
    [403, '{"code":"burnt","message":"","request-id":"r"}'],
    [403, '{"n":1}'],
    [502, '<html>'],
  ] as const) {
    const fault = await answered(t, status, body).catch((thrown) => thrown);
    t.equal(fault.code, 'unavailable', `${status} ${body}`);
    t.match(fault.message, /^\/x: the answer /);
  }
});
