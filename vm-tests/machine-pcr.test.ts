import { completed } from './harness/expect.ts';
import { inOrder, lineOf } from './harness/journal.ts';
import { bootMachine } from './harness/machine.ts';
import { handler, refused, tpmIsClean, unlocked } from './harness/machine-expect.ts';
import { machineWith, makeSealable, SHOW_TPM, showMounted } from './harness/machine-sealed.ts';
import { makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';
import { prompted, SOMEBODY, somebody } from './harness/somebody.ts';

/** Another boot state: what PCR 7 is with other Secure Boot keys, say. */
const ELSEWHERE = { pcr_ids: '7', pcr_digest: Buffer.alloc(32, 0x11).toString('base64url') };
const MISMATCH = '.*PCR';

scenario('sealed to another PCR 7', { machine: bootMachine }, async (t, stage) => {
  const [alone, attended] = [makeSealable(stage.folder, 'alone'), makeSealable(stage.folder, 'attended')];
  const { state, sealed } = await makeTpm(t, stage.folder, async (seal) => ({
    alone: await seal('tpm2', ELSEWHERE, alone.key),
    attended: await seal('tpm2', ELSEWHERE, attended.key),
  }));
  const guest = machineWith(
    [
      { name: 'alone', sealed: sealed.alone, options: 'luks,nofail,headless=1', mount: null },
      { name: 'attended', sealed: sealed.attended },
    ],
    {
      disks: [alone, attended],
      tpm: state,
      enable: [SOMEBODY],
      files: somebody([attended.key.toString()]),
      script: `${SHOW_TPM}${showMounted('/mnt/attended')}systemctl is-failed systemd-cryptsetup@alone.service\n`,
    },
  );
  const result = await stage.boot(guest);
  completed(t, result);
  refused(t, result, 'alone', MISMATCH);
  t.match(result.output, /^failed$/m);
  t.equal(result.status, 0);
  t.not(lineOf(result.journal, handler('attended', MISMATCH)), null, 'attended: refused too');
  t.ok(
    inOrder(result.journal, prompted('attended'), unlocked('attended')),
    'attended: the prompt is there, and opens it',
  );
  t.equal(lineOf(result.journal, prompted('alone')), null, 'alone: no prompt');
  t.match(result.output, /^\/mnt\/attended: \/dev\/mapper\/attended$/m);
  tpmIsClean(t, result);
});
