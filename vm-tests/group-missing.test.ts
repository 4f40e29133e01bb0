import { bootContainer } from './harness/container.ts';
import { failedCleanly } from './harness/expect.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

scenario('group tss missing', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage);
  // Without what would make it again at boot.
  const prepare = `sed -i '/^tss:/d' /etc/group /etc/gshadow; grep -lw tss /usr/lib/sysusers.d/* | xargs -r rm`;
  const result = await stage.boot({ ...guest, prepare, script: '' });
  failedCleanly(t, result, /fetch-luks-key@.*\.service: .*status=216\/GROUP/);
});
