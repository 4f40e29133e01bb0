import { setTimeout as pause } from 'node:timers/promises';
import { completed } from './harness/expect.ts';
import type { BootResult } from './harness/guest.ts';
import { lineOf } from './harness/journal.ts';
import { bootMachine } from './harness/machine.ts';
import { handler, inUse, tpmIsClean } from './harness/machine-expect.ts';
import { beside, untilAsked } from './harness/machine-key-server.ts';
import { hostTang, NETWORKD, networkdFiles } from './harness/machine-network.ts';
import { machineWith, makeSealable, SHOW_TPM, showMounted } from './harness/machine-sealed.ts';
import { FIRMWARE_UPDATE, firmwareUpdateFiles, makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';

const MOUNTED = showMounted('/mnt/data');
const CHANGED = 'tpm2: PCR 7 \\(bank sha256\\) changed since the key was sealed';
/** Longer than an emulated TPM takes to say no. */
const LATE_MS = 20_000;

const doctor = (when: string) => `echo '--- ${when}'\nfetch-luks-key doctor\necho "status $?"\n`;
const saidBy = (when: string, { output }: BootResult) =>
  new RegExp(`^--- ${when}$(.*?)^status 0$`, 'ms').exec(output)?.[1] ?? null;

scenario(
  '1 of {tpm2, tang}: reboot, firmware update, reseal, reboot without the server',
  { machine: bootMachine },
  async (t, stage) => {
    const disk = makeSealable(stage.folder, 'data');
    const tang = await hostTang(t);
    const { state } = await makeTpm(t, stage.folder, async () => ({}));
    const { files, ...guest } = machineWith([{ name: 'data', sealed: null, mount: 'nofail,_netdev' }], {
      disks: [disk],
      tpm: state,
      network: true,
      enable: [NETWORKD],
    });
    const crypttab = 'data /dev/disk/by-id/virtio-data none luks,nofail,headless=1\n';
    const first = await stage.boot({
      ...guest,
      enable: [NETWORKD],
      files: {
        ...files,
        ...networkdFiles,
        '/etc/crypttab': { content: crypttab },
        '/etc/passphrase': { content: disk.key },
      },
      script: `/usr/lib/systemd/systemd-networkd-wait-online --timeout=60
fetch-luks-key enroll data --tpm2 --tang ${tang.pin.url} --require 1 -y --unlock-key-file /etc/passphrase
rm /etc/passphrase\n`,
    });
    completed(t, first);
    t.match(first.output, /^enrolled data in /m);
    t.match(first.output, /^ {2}units +enabled: .*remote-cryptsetup\.target$/m);
    t.match(first.output, /^proven: opens by \/run\/fetch-luks-key\/default\.sock$/m);

    const next = { ...guest, files: {}, enable: [] };
    const second = await stage.boot({ ...next, script: `${MOUNTED}${doctor('before')}` }, first);
    completed(t, second);
    inUse(t, second, 'data', '(tpm2|tang \\S+) in \\d+ ms$');
    t.match(saidBy('before', second), /^nothing here breaks the next boot$/m);
    t.notMatch(saidBy('before', second), 'pin-does-not-answer');

    await tang.stop();
    const third = await beside(
      stage.boot(
        {
          ...next,
          files: firmwareUpdateFiles,
          enable: [FIRMWARE_UPDATE],
          script: `${MOUNTED}${doctor('updated')}fetch-luks-key reseal data\n${doctor('resealed')}`,
        },
        second,
      ),
      async (signal) => {
        await untilAsked(`${stage.folder}/boot-3`, signal);
        await pause(LATE_MS, undefined, { signal });
        await tang.start();
      },
    );
    completed(t, third);
    inUse(t, third, 'data', `tang ${tang.pin.url} in \\d+ ms, without ${CHANGED} `);
    t.match(
      saidBy('updated', third),
      new RegExp(`^weakens: data: ${CHANGED}; the other pins are enough \\[pin-does-not-answer\\]$`, 'm'),
    );
    t.match(
      third.output,
      /^resealed data in .*: 1 of \{tpm2, tang .*, keyslot 1 as before, the socket opens it$/m,
    );
    t.notMatch(third.output, 'a new key takes its place');
    t.notMatch(saidBy('resealed', third), 'pin-does-not-answer');
    t.match(saidBy('resealed', third), /^nothing here breaks the next boot$/m);

    await tang.stop();
    const fourth = await stage.boot({ ...next, script: `${SHOW_TPM}${MOUNTED}` }, third);
    completed(t, fourth);
    inUse(t, fourth, 'data', 'tpm2 in');
    tpmIsClean(t, fourth);
    stage.keep(lineOf(third.journal, handler('data', 'key delivered')) ?? '');
  },
);
