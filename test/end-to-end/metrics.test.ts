import { writeFileSync } from 'node:fs';
import t from 'tap';
import { fetchLuksKey } from '../support/command-line.ts';
import { readExposition } from '../support/exposition.ts';
import { startKeyServer } from '../support/key-server.ts';
import { portToKeep } from '../support/ports.ts';
import { webhookTarget } from '../support/webhook-target.ts';

t.setTimeout(300_000);

t.test('what a server did is what Prometheus is told', async (t) => {
  const folder = t.testdir({ etc: {} });
  const port = await portToKeep();
  const target = await webhookTarget(t, () => 410);
  writeFileSync(`${folder}/secret`, Buffer.alloc(32).toString('base64'), { mode: 0o600 });
  const webhooks = [{ url: target.url.href, secret: `${folder}/secret` }];
  const config = { metrics: { listen: `127.0.0.1:${port}` }, webhooks };
  writeFileSync(`${folder}/config.yaml`, JSON.stringify(config));
  const server = await startKeyServer(t, '--config', `${folder}/config.yaml`);
  const read = async () => readExposition(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text());

  const etc = `${folder}/etc`;
  const line = await server.invite('nas');
  t.equal((await fetchLuksKey(['join', '--name', 'home', '--etc', etc], line)).status, 0);
  const sealed = await fetchLuksKey(['seal', 'remote', '{"server":"home"}', '--etc', etc], 'key');
  t.equal((await fetchLuksKey(['open', '-', '--etc', etc], sealed.stdout)).status, 0);
  t.equal((await server.command('lock', 'nas')).status, 0);
  t.equal((await fetchLuksKey(['open', '-', '--etc', etc], sealed.stdout)).status, 4);
  await target.until(({ length }) => length >= 3);

  let told = await read();
  // They are counted every few seconds.
  while (told.get('luks_key_server_machines{state="locked"}') !== 1) told = await read();
  t.equal(told.get('luks_key_server_machines{state="armed"}'), 0);
  t.equal(told.get('luks_key_server_releases_total'), 1);
  t.ok((told.get('luks_key_server_refusals_total{code="locked"}') ?? 0) >= 1);
  t.equal(told.get('luks_key_server_refusals_total{code="revoked"}'), 0);
  t.equal(told.get('luks_key_server_heartbeats_total{outcome="failed"}'), 0);
  t.ok(
    (told.get('luks_key_server_webhook_drops_total{webhook="0"}') ?? 0) >= 2,
    'the target wants none of it',
  );
  t.ok((told.get('process_resident_memory_bytes') ?? 0) > 10 * 1024 * 1024);
  t.ok((told.get('process_start_time_seconds') ?? 0) <= Date.now() / 1000);
  const before = told.get('luks_key_server_heartbeats_total{outcome="done"}') ?? 0;
  for (let now = before; now <= before; ) {
    now = (await read()).get('luks_key_server_heartbeats_total{outcome="done"}') ?? 0;
  }
  t.equal(await server.stop(), 0);
  await t.rejects(fetch(`http://127.0.0.1:${port}/metrics`), 'it stops with the server');
});
