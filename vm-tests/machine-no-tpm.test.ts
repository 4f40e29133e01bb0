import { completed } from './harness/expect.ts';
import { bootMachine } from './harness/machine.ts';
import { refused } from './harness/machine-expect.ts';
import { machineWith, makeSealable } from './harness/machine-sealed.ts';
import { IN_THE_GUEST, makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';

const config = { content: 'volumes:\n  data: { give-up-after: 10s }\n' };

scenario('no TPM in the machine', { machine: bootMachine }, async (t, stage) => {
  const disk = makeSealable(stage.folder, 'data');
  const { sealed } = await makeTpm(t, stage.folder, async (seal) => ({
    data: await seal('tpm2', IN_THE_GUEST, disk.key),
  }));
  const guest = machineWith(
    [{ name: 'data', sealed: sealed.data, options: 'luks,nofail,headless=1', mount: null }],
    { disks: [disk], files: { '/etc/fetch-luks-key/config.yaml': config } },
  );
  const result = await stage.boot(guest);
  completed(t, result);
  refused(t, result, 'data', '.*no TPM at device:/dev/tpmrm0 .*gave up after \\d+ tries');
});
