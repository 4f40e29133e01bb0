import { completed } from './harness/expect.ts';
import type { GuestFile } from './harness/guest.ts';
import { inOrder, lineOf } from './harness/journal.ts';
import { bootMachine } from './harness/machine.ts';
import { handler, refused, tpmIsClean, unlocked } from './harness/machine-expect.ts';
import { machineWith, makeSealable, SHOW_TPM, showMounted } from './harness/machine-sealed.ts';
import { makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';

/** Another boot state: what PCR 7 is with other Secure Boot keys, say. */
const ELSEWHERE = { pcr_ids: '7', pcr_digest: Buffer.alloc(32, 0x11).toString('base64url') };
const MISMATCH = '.*PCR';

/** Who sits at the machine: sees the prompt, and types a passphrase. */
function somebody(passphrase: Buffer): Readonly<Record<string, GuestFile>> {
  return {
    '/etc/systemd/system/somebody.service': {
      content: `[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh -eu /etc/somebody
[Install]
WantedBy=sysinit.target
`,
    },
    '/etc/somebody': {
      content: `until prompt=$(grep -ls '^Id=cryptsetup:' /run/systemd/ask-password/ask.*); do sleep 0.5; done
sed -n 's/^Message=/prompt: /p' "$prompt"
printf %s '${passphrase}' | /lib/systemd/systemd-reply-password 1 "$(sed -n 's/^Socket=//p' "$prompt")"
`,
    },
  };
}

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
      enable: ['somebody.service'],
      files: somebody(attended.key),
      script: `${SHOW_TPM}${showMounted('/mnt/attended')}systemctl is-failed systemd-cryptsetup@alone.service\n`,
    },
  );
  const result = await stage.boot(guest);
  completed(t, result);
  refused(t, result, 'alone', MISMATCH);
  t.match(result.output, /^failed$/m);
  t.equal(result.status, 0);
  const prompt = /\]: prompt: .*attended/;
  t.not(lineOf(result.journal, handler('attended', MISMATCH)), null, 'attended: refused too');
  t.ok(inOrder(result.journal, prompt, unlocked('attended')), 'attended: the prompt is there, and opens it');
  t.equal(lineOf(result.journal, /\]: prompt: .*alone/), null, 'alone: no prompt');
  t.match(result.output, /^\/mnt\/attended: \/dev\/mapper\/attended$/m);
  tpmIsClean(t, result);
});
