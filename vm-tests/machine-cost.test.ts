import { completed } from './harness/expect.ts';
import { bootMachine } from './harness/machine.ts';
import { machineWith, makeSealable } from './harness/machine-sealed.ts';
import { IN_THE_GUEST, makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';

const ROUNDS = 5;
const VOLUMES = { ours: 'our tpm2', theirs: 'tpm2-device=auto', plain: 'key file' } as const;
const KEY_FOLDER = '/etc/boot-test-keys';

const line = (name: string, keyFile: string, options: string) =>
  `${name} /dev/disk/by-id/virtio-${name} ${keyFile} luks,noauto${options}\n`;
const ENROLL = `systemd-cryptenroll --unlock-key-file=${KEY_FOLDER}/theirs \\
  --tpm2-device=auto --tpm2-pcrs=7 /dev/disk/by-id/virtio-theirs\n`;

/** One after the other, as at boot they would share one processor. From systemd-cryptsetup@'s start to its end. */
const MEASURE = `for round in $(seq ${ROUNDS}); do for volume in ${Object.keys(VOLUMES).join(' ')}; do
  unit=systemd-cryptsetup@$volume.service
  systemctl start $unit || exit
  while systemctl --quiet is-active 'fetch-luks-key@*.service'; do sleep 0.2; done
  start=$(systemctl show --value -p InactiveExitTimestampMonotonic $unit)
  end=$(systemctl show --value -p ActiveEnterTimestampMonotonic $unit)
  echo "$volume: $((end - start)) µs"
  systemctl stop $unit
done; done
`;

function milliseconds(output: string, volume: string): number[] {
  const found = [...output.matchAll(new RegExp(`^${volume}: (\\d+) µs$`, 'gm'))];
  return found.map(([, micro]) => Math.round(Number(micro) / 1000)).sort((one, other) => one - other);
}

scenario('what unlocking costs', { machine: bootMachine }, async (t, stage) => {
  const disk = (name: string) => makeSealable(stage.folder, name);
  const [ours, theirs, plain] = [disk('ours'), disk('theirs'), disk('plain')];
  const { state, sealed } = await makeTpm(t, stage.folder, async (seal) => ({
    ours: await seal('tpm2', IN_THE_GUEST, ours.key),
  }));
  const guest = machineWith([{ name: 'ours', sealed: sealed.ours, options: 'luks,noauto', mount: null }], {
    disks: [ours, theirs, plain],
    tpm: state,
  });
  const others = `${line('theirs', '-', ',tpm2-device=auto')}${line('plain', `${KEY_FOLDER}/plain`, '')}`;
  const files = {
    ...guest.files,
    '/etc/crypttab': { content: `${guest.files['/etc/crypttab']?.content}${others}` },
    [`${KEY_FOLDER}/theirs`]: { content: theirs.key, mode: 0o600 },
    [`${KEY_FOLDER}/plain`]: { content: plain.key, mode: 0o600 },
  };
  const enrolled = await stage.boot({ ...guest, files, script: ENROLL });
  t.equal(enrolled.status, 0, 'systemd-cryptenroll');
  const result = await stage.boot({ ...guest, files, script: MEASURE }, enrolled);
  completed(t, result);
  t.equal(result.status, 0);
  const lines = Object.entries(VOLUMES).map(([volume, title]) => {
    const times = milliseconds(result.output, volume);
    t.equal(times.length, ROUNDS, `${title}: opened in each round`);
    return `${title}: median ${times[ROUNDS >> 1]} ms of ${times.join(', ')}`;
  });
  stage.keep(`systemd ${stage.version}\n${lines.join('\n')}`);
});
