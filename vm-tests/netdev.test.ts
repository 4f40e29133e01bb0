import { breaks } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { ASKED, completed, delivered, UNIT_FAILED } from './harness/expect.ts';
import { inOrder, lineOf, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';
import { BOOT_SAID } from './harness/volumes.ts';

const options = 'luks,_netdev,headless=1';
const enable = ['remote-cryptsetup.target'];
const IS_ENABLED = 'systemctl is-enabled remote-cryptsetup.target | sed "s/^/remote-cryptsetup: /"\n';

scenario('_netdev, remote-cryptsetup.target enabled', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, { options, enable, serverAfterSeconds: 3 });
  const result = await stage.boot(guest);
  completed(t, result);
  delivered(t, result);
  t.ok(inOrder(result.journal, SYSINIT, UNIT_FAILED), 'the early boot does not wait for the volume');
});

scenario(
  '_netdev, remote-cryptsetup.target as Debian has it',
  { container: bootContainer },
  async (t, stage) => {
    const { guest } = await sealedGuest(stage, breaks.remoteTargetOff);
    const result = await stage.boot({ ...guest, script: `${IS_ENABLED}${BOOT_SAID}` });
    completed(t, result);
    t.match(result.output, /^remote-cryptsetup: disabled$/m);
    t.equal(lineOf(result.journal, /systemd-cryptsetup@data\.service/), null, 'the volume is never started');
    t.equal(lineOf(result.journal, ASKED), null, 'nobody asks for its key');
  },
);
