import { bootContainer } from './harness/container.ts';
import { unlockedEarly } from './harness/expect.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

scenario('the units as shipped, first boot and reboot', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage);
  const first = await stage.boot(guest);
  unlockedEarly(t, first);
  unlockedEarly(t, await stage.boot(guest, first));
});
