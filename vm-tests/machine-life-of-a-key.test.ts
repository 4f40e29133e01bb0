import { completed } from './harness/expect.ts';
import { lineOf } from './harness/journal.ts';
import { bootMachine } from './harness/machine.ts';
import { failed, handler, inUse, tpmIsClean } from './harness/machine-expect.ts';
import { machineWith, makeSealable, SHOW_TPM, showMounted } from './harness/machine-sealed.ts';
import { FIRMWARE_UPDATE, firmwareUpdateFiles, makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';

const MOUNTED = showMounted('/mnt/data');
const BY_PASSPHRASE = '--unlock-key-file - < /etc/passphrase';
const CRYPTTAB = 'data /dev/disk/by-id/virtio-data none luks,nofail,headless=1\n';

scenario(
  'enroll, reboot, firmware update, reseal, reboot, rotate, reboot, unenroll',
  { machine: bootMachine },
  async (t, stage) => {
    const disk = makeSealable(stage.folder, 'data');
    const { state } = await makeTpm(t, stage.folder, async () => ({}));
    const volume = { name: 'data', sealed: null, mount: 'nofail' };
    const { files, ...guest } = machineWith([volume], { disks: [disk], tpm: state });
    const plain = { ...files, '/etc/crypttab': { content: CRYPTTAB } };
    const first = await stage.boot({
      ...guest,
      enable: [],
      files: { ...plain, '/etc/passphrase': { content: disk.key } },
      script: `fetch-luks-key enroll data --tpm2 ${BY_PASSPHRASE}\n`,
    });
    completed(t, first);
    t.match(first.output, /^enrolled data in /m);
    t.match(first.output, /^proven: opens by \/run\/fetch-luks-key\/default\.sock$/m);
    stage.keep(/^enrolled .*$/m.exec(first.output)?.[0] ?? '');

    const next = { ...guest, files: {}, enable: [] };
    const second = await stage.boot({ ...next, script: `${SHOW_TPM}${MOUNTED}` }, first);
    completed(t, second);
    inUse(t, second, 'data', 'tpm2');
    tpmIsClean(t, second);

    const updated = { ...next, files: firmwareUpdateFiles, enable: [FIRMWARE_UPDATE] };
    const third = await stage.boot(
      { ...updated, script: `fetch-luks-key reseal data ${BY_PASSPHRASE}\n` },
      second,
    );
    completed(t, third);
    t.not(lineOf(third.journal, handler('data', '.*PCR')), null, 'the boot is refused the key');
    t.not(lineOf(third.journal, failed('data')), null, 'and goes on without the volume');
    t.match(third.output, /^resealed data in .*: tpm2, keyslot 1 → 2, the socket opens it$/m);

    const fourth = await stage.boot({ ...next, script: `${MOUNTED}fetch-luks-key rotate data\n` }, third);
    completed(t, fourth);
    inUse(t, fourth, 'data', 'tpm2');
    t.match(fourth.output, /^rotated data in .*: tpm2, keyslot 2 → 1, the socket opens it$/m);

    const open = 'cryptsetup open --test-passphrase --key-file=/etc/passphrase /dev/disk/by-id/virtio-data';
    const undo = `fetch-luks-key unenroll data ${BY_PASSPHRASE}\ncat /etc/crypttab\n${open} && echo opens\n`;
    const fifth = await stage.boot({ ...next, script: `${SHOW_TPM}${MOUNTED}${undo}` }, fourth);
    completed(t, fifth);
    inUse(t, fifth, 'data', 'tpm2');
    tpmIsClean(t, fifth);
    t.match(fifth.output, /^unenrolled data: keyslot 1 is wiped; the passphrase opens it$/m);
    t.ok(fifth.output.includes(`\n${CRYPTTAB}`), 'crypttab is as it was');
    t.match(fifth.output, /^opens$/m);
  },
);
