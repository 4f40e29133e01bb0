import { completed } from './harness/expect.ts';
import { bootMachine } from './harness/machine.ts';
import { inUse, tpmIsClean } from './harness/machine-expect.ts';
import { machineWith, makeSealable, SHOW_TPM, showMounted } from './harness/machine-sealed.ts';
import { makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';
import { innerTang, TANG_UNIT } from './harness/tang.ts';

const device = (name: string) => `/dev/disk/by-id/virtio-${name}`;
const key = (name: string) => `/boot-test/${name}`;
const line = (name: string, keyFile = 'none', options = '') =>
  `${name} ${device(name)} ${keyFile} luks,nofail,headless=1${options}\n`;

/** Three volumes are enrolled or adopted. */
const SCRIPT_SECONDS = 400;

/** Clevis' own command maps the volume. */
const unlocks = (name: string) => `clevis luks unlock -d ${device(name)} -n by-clevis
echo "${name} by Clevis: $(cryptsetup status by-clevis | sed -n 's/^ *device: *//p')"
cryptsetup close by-clevis
`;

scenario('Clevis reads ours; adopted from Clevis and systemd', { machine: bootMachine }, async (t, stage) => {
  const names = ['ours', 'bound', 'theirs'] as const;
  const disks = names.map((name) => makeSealable(stage.folder, name));
  const tang = innerTang(stage.folder);
  const { state } = await makeTpm(t, stage.folder, async () => ({}));
  const volumes = names.map((name) => ({ name, sealed: null, mount: 'nofail' }));
  const { files, ...guest } = machineWith(volumes, { disks, tpm: state, watchdogSeconds: SCRIPT_SECONDS });
  const crypttab = `${line('ours')}${line('bound')}${line('theirs', '-', ',tpm2-device=auto')}`;
  const first = await stage.boot({
    ...guest,
    enable: [TANG_UNIT],
    files: {
      ...files,
      ...tang.files(0),
      '/etc/crypttab': { content: crypttab },
      ...Object.fromEntries(disks.map((disk) => [key(disk.serial), { content: disk.key, mode: 0o600 }])),
    },
    script: `set -eu
fetch-luks-key enroll ours --tang ${tang.url} --yes --unlock-key-file ${key('ours')}
clevis luks list -d ${device('ours')}
${unlocks('ours')}
clevis luks bind -y -d ${device('bound')} -k ${key('bound')} tpm2 '{"pcr_bank": "sha256", "pcr_ids": "7"}'
fetch-luks-key adopt bound
${unlocks('bound')}
systemd-cryptenroll --unlock-key-file=${key('theirs')} --tpm2-device=auto --tpm2-pcrs=7 ${device('theirs')}
fetch-luks-key recovery-key theirs --unlock-key-file ${key('theirs')}
fetch-luks-key adopt theirs --replace --unlock-key-file ${key('theirs')}
`,
  });
  completed(t, first);
  t.equal(first.status, 0, 'enrolled, bound and adopted', { output: first.output });
  t.match(
    first.output,
    new RegExp(`^1: tang '\\{"url":"${tang.url}"\\}'$`, 'm'),
    'Clevis lists what enroll wrote',
  );
  t.match(first.output, /^ours by Clevis: \/dev\/vd/m, 'and opens it');
  t.match(first.output, /^adopted bound from Clevis in /m);
  t.match(first.output, /^bound by Clevis: \/dev\/vd/m, 'which still opens what it has bound');
  t.match(first.output, /^adopted theirs from systemd-cryptenroll in /m);

  const script = `${SHOW_TPM}${names.map((name) => showMounted(`/mnt/${name}`)).join('')}`;
  const second = await stage.boot({ ...guest, enable: [], files: {}, script }, first);
  completed(t, second, /^$/);
  inUse(t, second, 'ours', 'tang');
  inUse(t, second, 'bound', 'tpm2');
  inUse(t, second, 'theirs', 'tpm2');
  tpmIsClean(t, second);
});
