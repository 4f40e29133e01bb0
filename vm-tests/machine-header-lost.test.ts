import { documented } from '../test/support/recovery-page.ts';
import { completed } from './harness/expect.ts';
import { lineOf } from './harness/journal.ts';
import { bootMachine } from './harness/machine.ts';
import { failed, handler, inUse } from './harness/machine-expect.ts';
import { machineWith, makeSealable, showMounted } from './harness/machine-sealed.ts';
import { makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';
import { atTerminal } from './harness/somebody.ts';

const DEVICE = '/dev/disk/by-id/virtio-data';
const MOUNTED = showMounted('/mnt/data');
const HEADER = 'The header is damaged';
const KEYFILE = '/boot-test/remembered';
const BACKUP = '/root/data.backup';
const NEW = 'remembered';
/** Argon2 and a dozen commands, each of which opens keyslots. */
const SCRIPT_SECONDS = 400;
const OF_BACKUP = 'of-the-backup';

const opens = (keyFile: string) => `cryptsetup open --test-passphrase --key-file=${keyFile} ${DEVICE}`;

scenario(
  'passphrase forgotten, header lost, an old one restored',
  { machine: bootMachine },
  async (t, stage) => {
    const disk = makeSealable(stage.folder, 'data');
    const { state } = await makeTpm(t, stage.folder, async () => ({}));
    const volume = { name: 'data', sealed: null, mount: 'nofail' };
    const { files, ...guest } = machineWith([volume], {
      disks: [disk],
      tpm: state,
      watchdogSeconds: SCRIPT_SECONDS,
    });
    const remembers = atTerminal(documented('The passphrase is forgotten', 'request', { DEVICE }), [
      ['new passphrase', NEW],
      ['[Vv]erify', NEW],
    ]);
    const backsUp = atTerminal(`fetch-luks-key backup data ${BACKUP}`, [
      ['Passphrase of the backup', OF_BACKUP],
      ['Again', OF_BACKUP],
    ]);
    const first = await stage.boot({
      ...guest,
      enable: [],
      files: {
        ...files,
        '/etc/crypttab': { content: `data ${DEVICE} none luks,nofail,headless=1\n` },
        '/boot-test/passphrase': { content: disk.key },
        [KEYFILE]: { content: NEW },
      },
      script: `set -eu
fetch-luks-key enroll data --tpm2 --unlock-key-file /boot-test/passphrase
fetch-luks-key request data --output - >/boot-test/old-key
${remembers}
${opens(KEYFILE)} && echo 'remembered: opens'
${backsUp}
fetch-luks-key rotate data
dd if=/dev/zero of=${DEVICE} bs=1M count=16 conv=fsync
`,
    });
    completed(t, first);
    t.equal(first.status, 0, 'enrolled, backed up, rotated', { output: first.output });
    t.match(first.output, /^remembered: opens$/m);

    const restores = atTerminal(documented(HEADER, 'luksHeaderRestore', { FILE: BACKUP, DEVICE }), [
      ['decryption password', OF_BACKUP],
      ['Are you sure', 'YES'],
    ]);
    const put = { KEYFILE, DEVICE, 'OLD-TOKEN': '0', 'OLD-KEYSLOT': '1' };
    const [reseal, ...removes] = documented(HEADER, 'reseal', put).split('\n');
    const second = await stage.boot(
      {
        ...guest,
        enable: [],
        files: {},
        script: `cd /root
${restores}
systemctl restart systemd-cryptsetup@data.service || echo 'old header: refused'
${reseal}
fetch-luks-key doctor
${opens('/boot-test/old-key')} && echo 'old key: opens'
${atTerminal(removes.join('\n'), [['any remaining passphrase', NEW]])}
${opens('/boot-test/old-key')} || echo 'old key: opens no more'
`,
      },
      first,
    );
    completed(t, second);
    t.not(lineOf(second.journal, failed('data')), null, 'without a header it does not open');
    t.match(second.output, /^old header: refused$/m);
    t.not(lineOf(second.journal, handler('data', '.*enrolled')), null, 'and why');
    t.match(second.output, /^resealed data in .*: tpm2, keyslot \d → \d, the socket opens it$/m);
    t.match(second.output, /token-not-enrolled/);
    t.match(second.output, /^old key: opens$(.*\n)*^old key: opens no more$/m);

    const third = await stage.boot({ ...guest, enable: [], files: {}, script: MOUNTED }, second);
    completed(t, third);
    inUse(t, third, 'data', 'tpm2');
  },
);
