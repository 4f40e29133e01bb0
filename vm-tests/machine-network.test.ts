import type { Test } from 'tap';
import { seal } from '../test/support/sealing.ts';
import { completed } from './harness/expect.ts';
import type { BootResult } from './harness/guest.ts';
import { inOrder, MULTI_USER } from './harness/journal.ts';
import { bootMachine } from './harness/machine.ts';
import { inUse, inUseEarly, mountedAt } from './harness/machine-expect.ts';
import { hostKeyServer, hostTang, NETWORKD, networkdFiles, ONLINE } from './harness/machine-network.ts';
import { machineWith, makeSealable, showMounted } from './harness/machine-sealed.ts';
import { scenario } from './harness/scenario.ts';

const LATE = { options: 'luks,_netdev', mount: '_netdev' };
/** For whom the volume's unit makes the boot wait, as the booted systemd has it. */
const showBefore = (volume: string) =>
  `systemctl show -p Before systemd-cryptsetup@${volume}.service | sed 's/^/${volume}: /'\n`;

/** systemd orders only the mount after network-online.target: the key is asked for before. */
function ofTheNetwork(t: Test, { journal, output }: BootResult, volume: string): void {
  t.match(output, new RegExp(`^${volume}: Before=.*\\bremote-cryptsetup\\.target`, 'm'));
  t.notMatch(
    output,
    new RegExp(`^${volume}: Before=(.* |)cryptsetup\\.target`, 'm'),
    'sysinit.target does not wait',
  );
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
});
