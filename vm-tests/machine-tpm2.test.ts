import { completed } from './harness/expect.ts';
import { bootMachine } from './harness/machine.ts';
import { inUseEarly, tpmIsClean } from './harness/machine-expect.ts';
import { machineWith, makeSealable, SHOW_TPM, showMounted } from './harness/machine-sealed.ts';
import { IN_THE_GUEST, makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';

scenario('tpm2, first boot and reboot', { machine: bootMachine }, async (t, stage) => {
  const disk = makeSealable(stage.folder, 'data');
  const { state, sealed } = await makeTpm(t, stage.folder, async (seal) => ({
    data: await seal('tpm2', IN_THE_GUEST, disk.key),
  }));
  const shown = `${SHOW_TPM}${showMounted('/mnt/data')}`;
  const guest = machineWith([{ name: 'data', sealed: sealed.data }], { disks: [disk], tpm: state });
  const first = await stage.boot({ ...guest, script: `${shown}echo again > /mnt/data/again\n` });
  const second = await stage.boot({ ...guest, script: `${shown}cat /mnt/data/again\n` }, first);
  for (const result of [first, second]) {
    completed(t, result);
    inUseEarly(t, result, 'data', 'tpm2');
    tpmIsClean(t, result);
  }
  t.match(second.output, /^again$/m, 'what the first boot wrote is there');
});
