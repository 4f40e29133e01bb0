import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'valibot';
import { serveHttps } from '../../../src/os/https-server.ts';
import { serveLocally } from '../../../src/os/local-server.ts';
import { operatorFront } from '../../../src/server/front/operator-front.ts';
import { operatorFault } from '../../../src/wire/operator.ts';
import { selfSigned } from '../../support/certificates.ts';
import { run } from '../../support/run.ts';
import { startApp } from '../api/machines.ts';
import { sqlitePlace } from '../store/backends.ts';

const silent = { info() {}, warning() {}, error() {} };
const JSON_TYPE = ['-H', 'content-type: application/json'];

async function curl(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout, stderr } = await run(['/usr/bin/curl', '-sSk', ...args], Buffer.alloc(0), {});
  return JSON.parse(stdout.toString() || JSON.stringify({ stderr }));
}

t.test('commands over the operator’s socket', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'operator-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'socket');
  const { app } = await startApp(t, sqlitePlace(t));
  const listener = await serveLocally(path, operatorFront(app, silent));
  t.teardown(() => listener.stop());
  const url = 'http://localhost/v1/operator';
  const send = (body: string) => curl('--unix-socket', path, ...JSON_TYPE, '-d', body, url);
  t.match(await send('{"command":"invite","name":"nas","policy":{},"rejoin":false}'), {
    name: 'nas',
    invitation: /^[\w-]{43}$/,
  });
  t.same(await send('{"command":"list","after":""}'), { machines: [] });
  for (const [body, code] of [
    ['{"command":"show","name":"nobody"}', 'usage'],
    ['{"command":"format"}', 'bad-request'],
    ['{"command":"show"}', 'bad-request'],
    ['{', 'bad-request'],
  ] as const) {
    t.equal(parse(operatorFault, await send(body)).code, code, body);
  }
  t.match(await curl('--unix-socket', path, 'http://localhost/v1/keys'), { code: 'bad-request' });
});

t.test('nobody is an operator over the network', async (t) => {
  const { app } = await startApp(t, sqlitePlace(t));
  const { certificate, key } = selfSigned({});
  const place = { host: '127.0.0.1', port: 0 };
  const listener = await serveHttps(
    { certificate, key, asksForKey: true, place },
    operatorFront(app, silent),
  );
  t.teardown(() => listener.stop());
  const url = `https://127.0.0.1:${listener.port}/v1/operator`;
  t.match(await curl(...JSON_TYPE, '-d', '{"command":"list","after":""}', url), { code: 'bad-request' });
});
