import type { Test } from 'tap';
import { seal } from '../test/support/sealing.ts';
import { completed } from './harness/expect.ts';
import type { BootResult } from './harness/guest.ts';
import { inOrder, MULTI_USER } from './harness/journal.ts';
import { bootMachine } from './harness/machine.ts';
import { inUse, inUseEarly, mountedAt, notWaitedFor } from './harness/machine-expect.ts';
import { hostKeyServer, hostTang, NETWORKD, networkdFiles, ONLINE } from './harness/machine-network.ts';
import { machineWith, makeSealable, showBefore, showMounted } from './harness/machine-sealed.ts';
import { scenario } from './harness/scenario.ts';

const LATE = { options: 'luks,_netdev', mount: '_netdev' };

/** systemd orders only the mount after network-online.target: the key is asked for before. */
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
});
