import { completed } from './harness/expect.ts';
import { bootMachine } from './harness/machine.ts';
import { inUseEarly, tpmIsClean } from './harness/machine-expect.ts';
import { machineWith, makeSealable, SHOW_TPM, showMounted } from './harness/machine-sealed.ts';
import { IN_THE_GUEST, makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';

scenario('/var and /tmp on volumes', { machine: bootMachine }, async (t, stage) => {
  const [variable, temporary] = [
    makeSealable(stage.folder, 'variable'),
    makeSealable(stage.folder, 'temporary'),
  ];
  const { state, sealed } = await makeTpm(t, stage.folder, async (seal) => ({
    variable: await seal('tpm2', IN_THE_GUEST, variable.key),
    temporary: await seal('tpm2', IN_THE_GUEST, temporary.key),
  }));
  const guest = machineWith(
    [
      { name: 'variable', sealed: sealed.variable, at: '/var' },
      { name: 'temporary', sealed: sealed.temporary, at: '/tmp' },
    ],
    { disks: [variable, temporary], tpm: state, script: `${SHOW_TPM}${showMounted('/var', '/tmp')}` },
  );
  const result = await stage.boot(guest);
  completed(t, result);
  inUseEarly(t, result, 'variable', 'tpm2', '/var');
  inUseEarly(t, result, 'temporary', 'tpm2', '/tmp');
  tpmIsClean(t, result);
});
