import type { Test } from 'tap';
import { bootContainer } from './harness/container.ts';
import { completed } from './harness/expect.ts';
import { type BootResult, plainGuest } from './harness/guest.ts';
import { invites, KEY_SERVER_UNIT, OUTLIVES, tellKeyServer } from './harness/inner-key-server.ts';
import { keyServerLayer } from './harness/product.ts';
import { scenario } from './harness/scenario.ts';
import { SOCKET_UNIT } from './harness/volumes.ts';

const KEEPALIVE = 'fetch-luks-key-keepalive.service';

/** The network of this machine: whoever is stopped after it tells nobody anything. */
const NETWORK = `[Unit]
Description=Network for this test
Before=network.target
Wants=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/ip link set lo up
ExecStop=/bin/ip link set lo down
[Install]
WantedBy=multi-user.target
`;

/** The machine goes down as far as this, until somebody has reported. */
const HOLD = `[Unit]
Description=Holds the shutdown for this test
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'until [ -e /boot-test/journal ]; do sleep 0.1; done'
TimeoutStopSec=infinity
[Install]
WantedBy=multi-user.target
`;

const JOIN = `${invites('nas')} | fetch-luks-key join --name home
echo secret | fetch-luks-key seal remote '{"server": "home"}' >/etc/fetch-luks-key/volumes/data.jwe
systemctl enable --now ${KEEPALIVE}
`;

/** @param before what happens in this boot, @param down how it ends: the network is gone when the script reports */
const script = (before: string, down: string) => `set -eu
${before}
until journalctl -b -u ${KEEPALIVE} | grep -q 'watching home'; do sleep 0.2; done
${down}
while ip -o link show lo up | grep -q .; do sleep 0.2; done
${tellKeyServer('audit show')}
echo ended
`;

const OPEN = 'fetch-luks-key request data';
const starts = (target: string) => `systemctl start --no-block --job-mode=replace-irreversibly ${target}`;

function announced(t: Test, result: BootResult, times: number, title: string): void {
  completed(t, result);
  t.equal(result.status, 0, title, { output: result.output });
  t.equal(
    result.output.match(/machine announce nas from 127\.0\.0\.1: announced/g)?.length ?? 0,
    times,
    title,
  );
}

scenario(
  'a reboot announces itself, a power-off does not',
  { container: bootContainer },
  async (t, stage) => {
    const guest = {
      ...plainGuest,
      layers: [await keyServerLayer(stage.suite)],
      enable: [KEY_SERVER_UNIT, SOCKET_UNIT, 'network.service', 'hold.service'],
      files: {
        ...OUTLIVES,
        '/etc/systemd/system/network.service': { content: NETWORK },
        '/etc/systemd/system/hold.service': { content: HOLD },
      },
    };
    const reboot = await stage.boot({ ...guest, script: script(JOIN, 'systemctl reboot --no-block') });
    announced(t, reboot, 1, 'reboot');
    t.match(reboot.journal, /fetch-luks-key\[\d+\]: home: this reboot is announced/);

    const restarts = `${OPEN}\nsystemctl restart ${KEEPALIVE}`;
    const off = await stage.boot(
      { ...guest, script: script(restarts, 'systemctl poweroff --no-block') },
      reboot,
    );
    announced(t, off, 1, 'neither a restart of the daemon, nor a power-off');

    const halt = await stage.boot({ ...guest, script: script(OPEN, 'systemctl halt --no-block') }, off);
    announced(t, halt, 1, 'nor a halt');

    const kexec = await stage.boot({ ...guest, script: script(OPEN, starts('kexec.target')) }, halt);
    announced(t, kexec, 2, 'kexec');
  },
);
