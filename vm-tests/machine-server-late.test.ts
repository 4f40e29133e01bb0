import { setTimeout as pause } from 'node:timers/promises';
import { seal } from '../test/support/sealing.ts';
import { ASKED, completed } from './harness/expect.ts';
import { timeOf } from './harness/journal.ts';
import { bootMachine } from './harness/machine.ts';
import { handler, inUseEarly, notWaitedFor, refused } from './harness/machine-expect.ts';
import { beside, untilAsked } from './harness/machine-key-server.ts';
import { hostTang, NETWORKD, networkdFiles } from './harness/machine-network.ts';
import { machineWith, makeSealable, showBefore, showMounted } from './harness/machine-sealed.ts';
import { scenario } from './harness/scenario.ts';

const LATE_MS = 20_000;
const config = { content: 'volumes:\n  late: { give-up-after: 0 }\n  never: { give-up-after: 30s }\n' };

scenario('key server 20 s late, another never there', { machine: bootMachine }, async (t, stage) => {
  const [late, never] = [makeSealable(stage.folder, 'late'), makeSealable(stage.folder, 'never')];
  const [lateTang, neverTang] = [await hostTang(t), await hostTang(t)];
  await Promise.all([lateTang.stop(), neverTang.stop()]);
  const guest = machineWith(
    [
      { name: 'late', sealed: await seal('tang', lateTang.pin, late.key) },
      {
        name: 'never',
        sealed: await seal('tang', neverTang.pin, never.key),
        options: 'luks,nofail,headless=1',
        mount: 'nofail',
      },
    ],
    {
      disks: [late, never],
      network: true,
      enable: [NETWORKD],
      files: { ...networkdFiles, '/etc/fetch-luks-key/config.yaml': config },
      script: `${showMounted('/mnt/late', '/mnt/never')}${showBefore('never')}`,
    },
  );
  const result = await beside(stage.boot(guest), async (signal) => {
    await untilAsked(`${stage.folder}/boot-1`, signal);
    await pause(LATE_MS, undefined, { signal });
    await lateTang.start();
  });
  completed(t, result);
  inUseEarly(t, result, 'late', 'tang');
  const waited = timeOf(result.journal, handler('late', 'key delivered')) - timeOf(result.journal, ASKED);
  t.ok(waited * 1000 >= LATE_MS, 'the connection was held for as long as the server was late', { waited });
  refused(t, result, 'never', '.*gave up after \\d+ tries');
  notWaitedFor(t, result, 'never');
  t.match(result.output, /^\/mnt\/never: $/m, 'its nofail mount is left out, and the boot goes on');
});
