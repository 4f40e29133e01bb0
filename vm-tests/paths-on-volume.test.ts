import { bootContainer } from './harness/container.ts';
import { UNIT_FAILED, unlockedEarly } from './harness/expect.ts';
import { inOrder } from './harness/journal.ts';
import { mountOnVolume } from './harness/mounts.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';
import { SOCKET_UNIT } from './harness/volumes.ts';

const CASES = [['/var'], ['/tmp'], ['/var', '/tmp', '/var/tmp', '/home']];

/** What our units wait for, as the booted systemd has it: no mount but the root file system's. */
const CREDENTIAL = [
  ...['fetch-luks-key-credential@1.service', 'fetch-luks-key-credential@default.socket'],
  ...['fetch-luks-key-encrypted.service', 'fetch-luks-key-encrypted.socket'],
];
const OURS = ['fetch-luks-key@1.service', SOCKET_UNIT, ...CREDENTIAL];
const SHOW = OURS.map(
  (unit) => `systemctl show -p Id,After,Requires,Wants,BindsTo,RequiresMountsFor '${unit}'\n`,
).join('');
const NEEDED = /(?<=[= ])\S+\.(?:mount|automount)(?=[ \n])/g;

for (const paths of CASES) {
  scenario(`${paths.join(', ')} on the volume`, { container: bootContainer }, async (t, stage) => {
    const mounts = paths.map(mountOnVolume);
    const files = Object.assign({}, ...mounts.map(({ files }) => files));
    const { guest } = await sealedGuest(stage, { files });
    const enable = [...guest.enable, ...mounts.map(({ unit }) => unit)];
    const result = await stage.boot({ ...guest, enable, script: `${guest.script}${SHOW}` });
    unlockedEarly(t, result);
    for (const { unit } of mounts) {
      const mounted = new RegExp(`systemd\\[1\\]: Mounted ${unit}`);
      t.ok(inOrder(result.journal, UNIT_FAILED, mounted), `${unit} waited for the volume`);
    }
    for (const unit of OURS) t.match(result.output, `Id=${unit}\n`, `${unit} is shown`);
    const needed = (result.output.match(NEEDED) ?? []).filter((unit) => unit !== '-.mount');
    t.strictSame(needed, [], 'our units wait for no mount');
    t.notMatch(result.output, /systemd-tmpfiles|local-fs\.target/, 'nor for what waits for them');
  });
}
