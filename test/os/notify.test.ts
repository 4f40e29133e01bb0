import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { serviceManager } from '../../src/os/notify.ts';
import { until } from '../support/https.ts';

/** systemd's end of it, in socat's hands: each datagram as it comes. */
async function receiver(t: Test, address: string, isThere: () => boolean) {
  const child = spawn('/usr/bin/socat', ['-u', address, 'STDOUT'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill();
    await ended;
  });
  let got = '';
  child.stdout.on('data', (data) => {
    got += `${data}|`;
  });
  await until(isThere);
  return { got: () => got };
}

t.test('tells systemd, by path and by abstract name', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'notify-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'notify');
  const name = `flk-notify-${process.pid}`;
  const { readFileSync } = await import('node:fs');
  for (const [variable, address, isThere] of [
    [path, `UNIX-RECV:${path}`, () => existsSync(path)],
    [`@${name}`, `ABSTRACT-RECV:${name}`, () => readFileSync('/proc/net/unix', 'utf8').includes(`@${name}`)],
  ] as const) {
    const systemd = await receiver(t, address, isThere);
    const environment = {
      NOTIFY_SOCKET: variable,
      WATCHDOG_USEC: '30000000',
      WATCHDOG_PID: String(process.pid),
    };
    const manager = serviceManager(environment);
    t.same(environment, {}, 'for nobody else');
    t.equal(manager.watchdogMs, 30_000);
    for (const [tell, text] of [
      [() => manager.ready(), 'READY=1'],
      [() => manager.status('two\nlines'), 'STATUS=two lines'],
      [() => manager.alive(), 'WATCHDOG=1'],
      [() => manager.stopping(), 'STOPPING=1'],
    ] as const) {
      tell();
      await until(() => systemd.got().endsWith(`${text}|`));
    }
    t.equal(systemd.got(), 'READY=1|STATUS=two lines|WATCHDOG=1|STOPPING=1|');
  }
});

t.test('without systemd nothing happens', async (t) => {
  const manager = serviceManager({});
  manager.ready();
  manager.alive();
  t.equal(manager.watchdogMs, null);
  t.equal(
    serviceManager({ WATCHDOG_USEC: '1000000', WATCHDOG_PID: '1' }).watchdogMs,
    null,
    "another process's",
  );
  t.equal(serviceManager({ WATCHDOG_USEC: '1000000' }).watchdogMs, 1_000);
});

t.test('nobody there', async (t) => {
  t.throws(() => serviceManager({ NOTIFY_SOCKET: '/nowhere' }).ready(), {
    code: 'unavailable',
    message: /sendto \/nowhere: failed \(ENOENT\)/,
  });
  t.throws(() => serviceManager({ NOTIFY_SOCKET: 'vsock:2:1' }).ready(), { code: 'unavailable' });
});
