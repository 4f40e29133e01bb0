import type { Test } from 'tap';
import { seal } from '../test/support/sealing.ts';
import { completed } from './harness/expect.ts';
import type { BootResult } from './harness/guest.ts';
import { inOrder, MULTI_USER, timeOf } from './harness/journal.ts';
import { bootMachine } from './harness/machine.ts';
import { asked, inUse, inUseEarly, mountedAt, notWaitedFor, unlocked } from './harness/machine-expect.ts';
import { hostKeyServer, hostTang, NETWORKD, networkdFiles, ONLINE } from './harness/machine-network.ts';
import { machineWith, makeSealable, showBefore, showMounted } from './harness/machine-sealed.ts';
import { scenario } from './harness/scenario.ts';

const IS_ENABLED = 'systemctl is-enabled remote-cryptsetup.target | sed "s/^/remote-cryptsetup: /"\n';
const LATE = { options: 'luks,_netdev', mount: '_netdev' };

/**
 * systemd orders only the mount after network-online.target. The volume's own unit waits for remote-fs-pre.target, which
 * waits for no network by itself: the key may be asked for before, and comes when the server can be reached.
 */
function ofTheNetwork(t: Test, result: BootResult, volume: string): void {
  const { journal } = result;
  notWaitedFor(t, result, volume);
  t.ok(
    inOrder(journal, ONLINE, mountedAt(`/mnt/${volume}`)),
    `${volume}: mounted after network-online.target`,
  );
  t.ok(
    inOrder(journal, mountedAt(`/mnt/${volume}`), MULTI_USER),
    `${volume}: multi-user.target waited for it`,
  );
}

scenario('network: local volume, _netdev by tang and url:', { machine: bootMachine }, async (t, stage) => {
  const disk = (name: string) => makeSealable(stage.folder, name);
  const [early, late, web] = [disk('early'), disk('late'), disk('web')];
  const tang = await hostTang(t);
  const guest = machineWith(
    [
      { name: 'early', sealed: await seal('tang', tang.pin, early.key) },
      { name: 'late', sealed: await seal('tang', tang.pin, late.key), ...LATE },
      { name: 'web', sealed: null, ...LATE },
    ],
    {
      disks: [early, late, web],
      network: true,
      enable: [NETWORKD, 'remote-cryptsetup.target'],
      files: {
        ...networkdFiles,
        '/etc/fetch-luks-key/config.yaml': {
          content: `volumes:\n  web: ${await hostKeyServer(t, web.key)}\n`,
        },
      },
      script: `${showMounted('/mnt/early', '/mnt/late', '/mnt/web')}${showBefore('late')}${showBefore('web')}`,
    },
  );
  const result = await stage.boot(guest);
  completed(t, result);
  inUseEarly(t, result, 'early', 'tang');
  inUse(t, result, 'late', 'tang');
  inUse(t, result, 'web', 'https:');
  for (const volume of ['late', 'web']) ofTheNetwork(t, result, volume);
  const at = (line: RegExp) => timeOf(result.journal, line).toFixed(1);
  stage.keep(
    `systemd ${stage.version}\n_netdev: asked for at ${at(asked('late'))} s, unlocked at ${at(unlocked('late'))} s; network-online.target at ${at(ONLINE)} s`,
  );
});

scenario(
  '_netdev, mounted by fstab, remote-cryptsetup.target as Debian has it',
  { machine: bootMachine },
  async (t, stage) => {
    const disk = makeSealable(stage.folder, 'data');
    const tang = await hostTang(t);
    const guest = machineWith([{ name: 'data', sealed: await seal('tang', tang.pin, disk.key), ...LATE }], {
      disks: [disk],
      network: true,
      enable: [NETWORKD],
      files: networkdFiles,
      script: `${showMounted('/mnt/data')}${showBefore('data')}${IS_ENABLED}`,
    });
    const result = await stage.boot(guest);
    completed(t, result);
    t.match(result.output, /^remote-cryptsetup: disabled$/m);
    inUse(t, result, 'data', 'tang');
    ofTheNetwork(t, result, 'data');
  },
);
