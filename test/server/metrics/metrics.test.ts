import t from 'tap';
import { version } from '../../../src/base/version.ts';
import { serveHttp } from '../../../src/os/http-server.ts';
import { noCounts } from '../../../src/server/api/counters.ts';
import { EXPOSITION_TYPE, exposition } from '../../../src/server/metrics/exposition.ts';
import { families, type Gauges } from '../../../src/server/metrics/families.ts';
import { metricsFront } from '../../../src/server/metrics/metrics-front.ts';
import { refusalCodes } from '../../../src/wire/refusal.ts';
import { readExposition } from '../../support/exposition.ts';
import { run } from '../../support/run.ts';
import { joinedMachine, startApp, TestMachine } from '../api/machines.ts';
import { sqlitePlace } from '../store/backends.ts';

t.setTimeout(300_000);

const log = { info() {}, warning() {}, error() {} };
const nothing: Gauges = { machines: null, connections: {}, webhooks: [], residentBytes: 1, startSeconds: 1 };

t.test('curl gets it, over plain HTTP', async (t) => {
  const counters = noCounts();
  const gather = async () => families(counters, nothing);
  const listener = await serveHttp({ host: '127.0.0.1', port: 0 }, metricsFront(gather, log));
  t.teardown(() => listener.stop());
  const curl = async (path: string, ...options: string[]) => {
    const url = `http://127.0.0.1:${listener.port}${path}`;
    const { stdout } = await run(['/usr/bin/curl', '-sSi', ...options, url], Buffer.alloc(0), {});
    const [head = '', body = ''] = stdout.toString().split('\r\n\r\n');
    return { head, body };
  };
  const first = await curl('/metrics');
  t.match(first.head, /^HTTP\/1\.1 200 OK\r\n/);
  t.match(first.head, `content-type: ${EXPOSITION_TYPE}\r\n`);
  t.equal(readExposition(first.body).get('luks_key_server_releases_total'), 0);
  counters.releases = 12;
  const second = await curl('/metrics?name[]=all', '--globoff');
  t.equal(readExposition(second.body).get('luks_key_server_releases_total'), 12);
  t.match((await curl('/')).head, /^HTTP\/1\.1 404 /);
  t.match((await curl('/metrics2')).head, /^HTTP\/1\.1 404 /);
  t.match((await curl('/metrics', '-X', 'POST')).head, /^HTTP\/1\.1 405 .*\r\nallow: GET\r\n/s);
});

t.test('every number, and nothing that is not known', (t) => {
  const counters = noCounts();
  counters.refusals.locked = 3;
  const all: Gauges = {
    machines: { armed: 1, locked: 2, revoked: 0 },
    connections: { machines: 4, operators: 0 },
    webhooks: [
      { dropped: 0, waiting: 1 },
      { dropped: 7, waiting: 0 },
    ],
    residentBytes: 2e21,
    startSeconds: 1.5,
  };
  const series = readExposition(exposition(families(counters, all)));
  t.strictSame(Object.fromEntries(series), {
    [`luks_key_server_info{version="${version}"}`]: 1,
    'luks_key_server_machines{state="armed"}': 1,
    'luks_key_server_machines{state="locked"}': 2,
    'luks_key_server_machines{state="revoked"}': 0,
    luks_key_server_releases_total: 0,
    ...Object.fromEntries(
      refusalCodes.map((code) => [
        `luks_key_server_refusals_total{code="${code}"}`,
        code === 'locked' ? 3 : 0,
      ]),
    ),
    luks_key_server_keepalives_total: 0,
    'luks_key_server_heartbeats_total{outcome="done"}': 0,
    'luks_key_server_heartbeats_total{outcome="failed"}': 0,
    'luks_key_server_connections{listener="machines"}': 4,
    'luks_key_server_connections{listener="operators"}': 0,
    'luks_key_server_webhook_drops_total{webhook="0"}': 0,
    'luks_key_server_webhook_drops_total{webhook="1"}': 7,
    'luks_key_server_webhook_waiting{webhook="0"}': 1,
    'luks_key_server_webhook_waiting{webhook="1"}': 0,
    process_resident_memory_bytes: 2e21,
    process_start_time_seconds: 1.5,
  });
  const fewer = [...readExposition(exposition(families(counters, nothing))).keys()];
  t.notOk(fewer.some((key) => /_machines|_webhook|_connections/.test(key)));
  t.end();
});

t.test('releases, refusals and keep-alives are counted', async (t) => {
  const server = await startApp(t, sqlitePlace(t));
  const { counters } = server.app;
  const machine = await joinedMachine(server, 'nas');
  t.equal(await machine.recover(), 'opened');
  t.match(await machine.keepalive(), { 'lease-left-ms': 900_000 });
  t.match(await machine.keepalive(null), { 'lease-left-ms': 900_000 });
  await server.operate({ command: 'lock', name: 'nas' });
  t.equal(await machine.recover(), 'locked');
  t.match(await machine.keepalive(), { code: 'locked' });
  t.match(await new TestMachine(server).keepalive(null), { code: 'unknown' });
  t.match(await machine.post('/v1/keepalive', { boot: 7 }), { code: 'bad-request' });
  const { refusals, ...others } = counters;
  t.match(others, { releases: 1, keepalives: 2 });
  const refused = Object.fromEntries(Object.entries(refusals).filter(([, count]) => count > 0));
  t.strictSame(refused, { locked: 2, unknown: 1, 'bad-request': 1 });
});
