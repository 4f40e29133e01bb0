import { readFileSync } from 'node:fs';
import { seal } from '../test/support/sealing.ts';
import { completed } from './harness/expect.ts';
import { inOrder } from './harness/journal.ts';
import { bootMachine } from './harness/machine.ts';
import { asked, inUseEarly, tpmIsClean, unlocked } from './harness/machine-expect.ts';
import { hostTang, NETWORKD, networkdFiles } from './harness/machine-network.ts';
import { machineWith, makeSealable, SHOW_TPM, showMounted } from './harness/machine-sealed.ts';
import { IN_THE_GUEST, makeTpm } from './harness/machine-tpm.ts';
import { makeVolume } from './harness/machine-volume.ts';
import { scenario } from './harness/scenario.ts';

scenario('three volumes and a chain', { machine: bootMachine }, async (t, stage) => {
  const disk = (name: string) => makeSealable(stage.folder, name);
  const [both, two, inner] = [disk('both'), disk('two'), disk('inner')];
  const outer = { serial: 'outer', ...makeVolume(`${stage.folder}/outer.luks`, readFileSync(inner.image)) };
  const tang = await hostTang(t);
  const { state, sealed } = await makeTpm(t, stage.folder, async (seal) => ({
    both: await seal('sss', { t: 2, pins: { tpm2: IN_THE_GUEST, tang: tang.pin } }, both.key),
    two: await seal('tpm2', IN_THE_GUEST, two.key),
    inner: await seal('tpm2', IN_THE_GUEST, inner.key),
  }));
  const guest = machineWith(
    [
      { name: 'both', sealed: sealed.both },
      { name: 'two', sealed: sealed.two },
      { name: 'inner', sealed: sealed.inner, device: '/dev/mapper/outer' },
      { name: 'outer', sealed: await seal('tang', tang.pin, outer.key), mount: null },
    ],
    {
      disks: [both, two, outer],
      tpm: state,
      network: true,
      enable: [NETWORKD],
      files: networkdFiles,
      script: `${SHOW_TPM}${showMounted('/mnt/both', '/mnt/two', '/mnt/inner')}`,
    },
  );
  const result = await stage.boot(guest);
  completed(t, result);
  inUseEarly(t, result, 'both', '(tpm2, tang \\S+|tang \\S+, tpm2) in');
  inUseEarly(t, result, 'two', 'tpm2');
  inUseEarly(t, result, 'inner', 'tpm2');
  t.ok(inOrder(result.journal, unlocked('outer'), asked('inner')), 'the inner volume waited for the outer');
  tpmIsClean(t, result);
});
