import { completed } from './harness/expect.ts';
import type { GuestFile } from './harness/guest.ts';
import { inOrder, lineOf, SYSINIT } from './harness/journal.ts';
import { bootMachine } from './harness/machine.ts';
import { handler, inUse, notWaitedFor, refused, tpmIsClean, unlocked } from './harness/machine-expect.ts';
import { machineWith, makeSealable, SHOW_TPM, showBefore, showMounted } from './harness/machine-sealed.ts';
import { makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';
import { SOMEBODY, somebody } from './harness/somebody.ts';

const PIN = 'four words, no less';
const CRYPTTAB = `data /dev/disk/by-id/virtio-data none luks,headless=1
other /dev/disk/by-id/virtio-other none luks,nofail,headless=1
`;
const CONFIG = 'volumes: { other: { give-up-after: 20s } }\n';

const enroll = (volume: string) =>
  `fetch-luks-key enroll ${volume} --tpm2-pin --tpm2-pin-file /etc/pin --unlock-key-file /etc/passphrase-${volume}\n`;
const SHOW_FAILURES = 'tpm2_getcap -T device:/dev/tpm0 properties-variable | grep LOCKOUT_COUNTER\n';

/** Types at each question for the PIN of `data`, and at no other. */
const typing = somebody(['wrong', PIN], '^Id=fetch-luks-key:data$');

/**
 * systemd's own agents are off, as is PID 1's status output: the handler, which cannot, does not rely on them to make the
 * folder of questions. An empty unit is a masked one.
 */
const noAgents: Readonly<Record<string, GuestFile>> = Object.fromEntries(
  ['console', 'wall'].map((agent) => [
    `/etc/systemd/system/systemd-ask-password-${agent}.path`,
    { content: '' },
  ]),
);

scenario(
  'enroll with a PIN, reboot: a wrong one, the right one, none',
  { machine: bootMachine },
  async (t, stage) => {
    const [data, other] = [makeSealable(stage.folder, 'data'), makeSealable(stage.folder, 'other')];
    const { state } = await makeTpm(t, stage.folder, async () => ({}));
    const { files, ...guest } = machineWith(
      [
        { name: 'data', sealed: null, mount: 'nofail' },
        { name: 'other', sealed: null, mount: null },
      ],
      { disks: [data, other], tpm: state },
    );
    const first = await stage.boot({
      ...guest,
      enable: [],
      files: {
        ...files,
        '/etc/crypttab': { content: CRYPTTAB },
        '/etc/fetch-luks-key/config.yaml': { content: CONFIG },
        '/etc/passphrase-data': { content: data.key },
        '/etc/passphrase-other': { content: other.key },
        '/etc/pin': { content: PIN },
      },
      script: `${enroll('data')}${enroll('other')}rm /etc/pin /etc/passphrase-*\n`,
    });
    completed(t, first);
    for (const volume of ['data', 'other']) {
      t.match(first.output, new RegExp(`^enrolled ${volume} in `, 'm'));
      t.match(first.output, new RegExp(`^at the next boot ${volume} asks for the PIN;`, 'm'));
    }

    const second = await stage.boot(
      {
        ...guest,
        enable: [SOMEBODY],
        files: { ...typing, ...noAgents },
        append: 'systemd.show_status=0',
        script: `${SHOW_TPM}${SHOW_FAILURES}${showMounted('/mnt/data')}${showBefore('other')}`,
      },
      first,
    );
    completed(t, second);
    const prompt = (text: string) => new RegExp(`\\]: prompt: ${text}TPM PIN for data:`);
    t.ok(inOrder(second.journal, prompt(''), prompt('Wrong PIN\\. ')), 'asked again after a wrong one');
    t.match(second.output, /LOCKOUT_COUNTER: 0x1$/m, 'which the TPM has counted');
    inUse(t, second, 'data', 'tpm2');
    t.ok(inOrder(second.journal, unlocked('data'), SYSINIT), 'sysinit.target waited for it');

    refused(t, second, 'other', '.*nobody has typed the PIN for other within 20 s');
    notWaitedFor(t, second, 'other');
    tpmIsClean(t, second);
    stage.keep(lineOf(second.journal, handler('data', 'key delivered')) ?? '');
  },
);
